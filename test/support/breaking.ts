/**
 * Breaks one rule of the product for one run of the tests: the source that is loaded differs from the file by
 * one passage. `npm run mutations -- R` sets it, to see that the tests of a requirement notice.
 */

/** As JSON: a {@link Break}. */
const VARIABLE = 'TIDEMARK_BREAK';

export interface Break {
  /** From the repository's root. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** What vite needs of a plugin that changes sources before anything else does. */
interface SourcePlugin {
  readonly name: string;
  readonly enforce: 'pre';
  transform(code: string, id: string): string | undefined;
}

/** Returns the plugins for vitest: one that breaks what the environment names, or none. */
export function breaking(): SourcePlugin[] {
  const wanted = process.env[VARIABLE];
  if (wanted === undefined) return [];
  const { file, find, replace } = JSON.parse(wanted) as Break;
  return [
    {
      name: 'tidemark-break',
      enforce: 'pre',
      transform: (code, id) => {
        if (!id.split('?')[0]?.endsWith(`/${file}`)) return undefined;
        if (code.split(find).length !== 2) throw new Error(`${file} does not hold once: ${find}`);
        return code.replace(find, () => replace);
      },
    },
  ];
}

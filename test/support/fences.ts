import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export interface Fence {
  readonly language: string;
  readonly text: string;
  /** The nearest heading above. */
  readonly heading: string;
  readonly line: number;
}

/** Reads the fenced blocks of a Markdown file of this repository, in order. */
export async function readFences(path: string): Promise<readonly Fence[]> {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const fences: Fence[] = [];
  let heading = '';
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [index, text] of (await readFile(file, 'utf8')).split('\n').entries()) {
    const mark = /^```(\w*)/.exec(text);
    if (open === undefined) {
      if (mark !== null) open = { language: mark[1] ?? '', line: index + 1, lines: [] };
      else heading = /^#+ (.*)/.exec(text)?.[1] ?? heading;
    } else if (mark === null) {
      open.lines.push(text);
    } else {
      fences.push({ language: open.language, text: open.lines.join('\n'), heading, line: open.line });
      open = undefined;
    }
  }
  return fences;
}

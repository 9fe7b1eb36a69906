import { readFile } from 'node:fs/promises';

/** Reads the version of the package that this program belongs to. */
export async function packageVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

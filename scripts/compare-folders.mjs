// Compares two folders file by file.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

function filesOf(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** Returns the files, by path within the folders, that only one side has or whose bytes differ. */
export function differences(left, right) {
  const files = [...new Set([...filesOf(left), ...filesOf(right)])].sort();
  return files.filter((file) => {
    const [a, b] = [join(left, file), join(right, file)];
    return !existsSync(a) || !existsSync(b) || !readFileSync(a).equals(readFileSync(b));
  });
}

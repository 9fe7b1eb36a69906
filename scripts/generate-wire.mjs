// Makes src/wire/tidemark from proto/, with the compiler and the plugin of node_modules.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Writes `<folder>/src/wire/tidemark`. Throws when the compiler refuses. */
export function generateWire(folder) {
  const buf = join(root, 'node_modules', '.bin', 'buf');
  const result = spawnSync(buf, ['generate', '--output', folder], { cwd: root, encoding: 'utf8' });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) throw new Error(`buf generate failed\n${result.stderr}`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  generateWire(root);

// Writes what `npm run verify` would complain about, as far as a program can: generated code and docs, lint,
// format.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateDocs } from './generate-docs.mjs';
import { generateWire } from './generate-wire.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(program, args) {
  const path = join(root, 'node_modules', '.bin', program);
  const result = spawnSync(path, args, { cwd: root, stdio: 'inherit' });
  if (result.error !== undefined) throw result.error;
  return result.status === 0;
}

generateWire(root);
await generateDocs({ write: true });
const linted = run('eslint', ['--fix', '.']);
const formatted = run('prettier', ['--write', '--log-level=warn', '.']);
process.exitCode = linted && formatted ? 0 : 1;

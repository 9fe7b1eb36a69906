// Checks format, lint, types, generated code, generated documentation and style rules. Never writes.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { differences } from './compare-folders.mjs';
import { generateDocs } from './generate-docs.mjs';
import { generateWire } from './generate-wire.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);

function command(program, args) {
  const result = spawnSync(bin(program), args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.error !== undefined) throw result.error;
  return result.status === 0 ? '' : `${result.stdout}${result.stderr}`;
}

function wireDiffers() {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-wire-'));
  try {
    generateWire(folder);
    const found = differences(join(folder, 'src', 'wire', 'tidemark'), join(root, 'src', 'wire', 'tidemark'));
    return found.map((file) => `src/wire/tidemark/${file} differs from proto/ (npm run generate)\n`).join('');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Each answers with what is wrong, or with nothing. */
const checks = [
  ['format', () => command('prettier', ['--check', '--log-level=warn', '.'])],
  ['lint', () => command('eslint', ['--max-warnings=0', '.'])],
  ['types', () => command('tsc', ['-p', 'tsconfig.test.json', '--pretty', 'false'])],
  ['generated code', wireDiffers],
  ['generated docs', () => generateDocs({ write: false })],
  ['style', () => command('vitest', ['run', 'test/tidy', '--reporter=dot'])],
];

let failed = 0;
for (const [name, check] of checks) {
  const started = Date.now();
  const wrong = await check();
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${wrong === '' ? 'ok    ' : 'failed'}  ${name} (${seconds} s)\n`);
  if (wrong === '') continue;
  failed += 1;
  process.stdout.write(`${wrong.trimEnd()}\n`);
}
process.stdout.write(
  failed === 0 ? 'verify: all good\n' : `verify: ${failed} failed (npm run fix mends some)\n`,
);
process.exitCode = failed === 0 ? 0 : 1;

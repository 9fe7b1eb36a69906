// Makes the parts of docs/reference that are tables of what the sources declare.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { loadSource } from './load-source.mjs';
import { ruleMap } from './rule-map.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const RETRY = {
  never: 'no',
  later: 'the same again, later',
  'another-node': 'at another node',
  'same-request-id': 'under the same request id only',
};

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function grpcName(codes, number) {
  const [name] = Object.entries(codes).find(([, value]) => value === number);
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

async function errorsPage() {
  const { ERRORS, GRPC } = await loadSource('src/base/errors.ts');
  const rows = Object.entries(ERRORS).map(([code, row]) => [
    `\`${code}\``,
    row.meaning,
    RETRY[row.retry],
    row.exit,
    grpcName(GRPC, row.grpc),
  ]);
  return `# Error codes

Made from \`src/base/errors.ts\` by \`npm run fix\`; do not edit.

Each failure that Tidemark shows carries one of these codes: on the command line in front of the message, in
gRPC as the metadata \`tidemark-code\`, in logs as \`code\`. Codes, retry advice, exit codes and gRPC statuses are
API; the texts of messages are not. An outcome that is not known has a code of its own and is never told as a
failure.

${table(['Code', 'Meaning', 'Retry', 'Exit code', 'gRPC status'], rows)}
`;
}

async function rulesPage() {
  const files = (paths) => paths.map((path) => `\`${path}\``).join('<br>');
  const rows = (await ruleMap()).map(({ name, switchedIn, tests, shared }) => [
    `\`${name}\``,
    files(switchedIn),
    files([...tests, ...shared]),
  ]);
  return `# Rules and their tests

Made from the sources by \`npm run fix\`; do not edit.

Each row is a rule that the test build can switch off. \`npm run mutations\` switches off one after the other, runs
the tests that name it, and counts those that notice.

${table(['Mutation', 'Rule', 'Tests that name it'], rows)}
`;
}

const pages = [
  ['docs/reference/errors.md', errorsPage],
  ['docs/reference/rules.md', rulesPage],
];

/** Writes the pages, or only tells which differ: one line each, or nothing. */
export async function generateDocs({ write }) {
  let stale = '';
  for (const [path, make] of pages) {
    const file = join(root, path);
    const text = await make();
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    if (write) writeFileSync(file, text);
    else stale += `${path} differs from its sources (npm run fix)\n`;
  }
  return stale;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await generateDocs({ write: true });
}

// Makes the parts of docs/reference that are tables of what the sources declare.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { loadSources } from './load-source.mjs';
import { ruleMap, sources } from './rule-map.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const RETRY = {
  never: 'no',
  later: 'the same again, later',
  'another-node': 'at another node',
  'same-request-id': 'under the same request id only',
};

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => ' --- |').join('')}`, ...rows.map(line)].join('\n');
}

function grpcName(codes, number) {
  const [name] = Object.entries(codes).find(([, value]) => value === number);
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

async function errorsPage() {
  const files = ['src/base/errors.ts', 'src/base/error-row.ts'];
  const [{ ERRORS }, { GRPC }] = await loadSources(files);
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
gRPC as the metadata \`tidemark-code\`, in logs as \`code\`. Codes, retry advice, exit codes and gRPC
statuses are API; the texts of messages are not. An outcome that is not known has a code of its own and is
never told as a failure.

${table(['Code', 'Meaning', 'Retry', 'Exit code', 'gRPC status'], rows)}
`;
}

async function rulesPage() {
  const files = (paths) => paths.map((path) => `\`${path}\``).join('<br>');
  const rows = (await ruleMap()).map(({ name, switchedIn, named }) => [
    `\`${name}\``,
    files(switchedIn),
    files(named),
  ]);
  return `# Rules and their tests

Made from the sources by \`npm run fix\`; do not edit.

Each row is a rule that the test build can switch off. \`npm run mutations\` switches off one after the
other, runs the tests that name it, and counts those that notice.

${table(['Mutation', 'Rule', 'Tests that name it'], rows)}
`;
}

async function plantedBugsPage() {
  const [{ PLANTED_BUGS }] = await loadSources(['test/planted-bugs.ts']);
  const rows = PLANTED_BUGS.map(({ bug, broken, file }) => [
    bug,
    typeof broken === 'string' ? `\`${broken}\`` : `a passage of \`${broken.file}\``,
    `\`${file}\``,
  ]);
  return `# Planted bugs

Made from \`test/planted-bugs.ts\` by \`npm run fix\`; do not edit.

Mistakes that other systems made where windows, tokens and merges meet. \`npm run bugs\` plants one after the
other and prints the test that catches it. Those of consensus are planted by \`npm run sim:bugs\`.

${table(['Bug', 'Planted as', 'Caught by'], rows)}
`;
}

async function raftRequirementsPage() {
  const [{ REQUIREMENTS, WITHOUT_TEST }, { testsByRequirement }] = await loadSources([
    'test/raft/requirements.ts',
    'test/tidy/requirement-tests.ts',
  ]);
  const tests = testsByRequirement();
  const shown = (id) =>
    tests
      .get(id)
      ?.map(({ path, title }) => `\`${path.slice('test/'.length)}\`: ${title.replaceAll('\\', '')}`)
      .join('<br>');
  const parts = REQUIREMENTS.map(({ name, requirements }) => {
    const rows = requirements.map(({ id, text }) => [
      `R${id}`,
      text,
      WITHOUT_TEST[id] ?? shown(id) ?? '**not yet**',
    ]);
    return `## ${name}\n\n${table(['', 'Requirement', 'Shown by (below `test/`)'], rows)}`;
  });
  return `# What consensus must keep to, and the tests that show it

Made from \`test/raft/requirements.ts\` and the titles of tests by \`npm run fix\`; do not edit.

The mistakes that other implementations made, one line each. \`npx vitest run -t 'R3\\b'\` runs the tests of
requirement 3.

${parts.join('\n\n')}
`;
}

async function cliPage() {
  const [{ COMMANDS }, { kebab, environmentName }, { EXIT }] = await loadSources([
    'src/cli/commands.ts',
    'src/cli/option.ts',
    'src/base/error-row.ts',
  ]);
  const general = ['output', 'config'];
  const optionRow = ([name, option]) => {
    const short = option.short === undefined ? '' : `\`-${option.short}\`, `;
    const value = option.placeholder === undefined ? '' : ` ${option.placeholder}`;
    const place = option.positional === 'many' ? `[${name}..]` : `<${name}>`;
    const flag = option.positional !== undefined ? `\`${place}\`` : `${short}\`--${kebab(name)}${value}\``;
    const fallback = option.required === true ? 'required' : option.fallback ? `\`${option.fallback}\`` : '';
    return [flag, option.help, fallback, `\`${environmentName(name)}\``];
  };
  const optionTable = (options) =>
    table(['Option', 'Meaning', 'Default', 'Environment'], options.map(optionRow));
  const commandPart = ({ path, summary, examples, options }) => {
    const own = Object.entries(options).filter(([name]) => !general.includes(name));
    const shown = examples.length === 0 ? '' : `\n\n\`\`\`sh\n${examples.join('\n')}\n\`\`\``;
    const listed = own.length === 0 ? '' : `\n\n${optionTable(own)}`;
    return `## tidemark ${path.join(' ')}\n\n${summary}.${shown}${listed}`;
  };
  const exits = Object.entries(EXIT).map(([name, code]) => [code, name]);
  return `# The command line

Made from \`src/cli/commands.ts\` by \`npm run fix\`; do not edit.

Commands are a noun, then a verb. A setting comes from its flag, else from its environment variable, else
from the config file (\`--config\`, or \`tidemark.yaml\` in the working folder; its keys are the flags
without dashes, at the top for every command or under the words of one command), else from its default.
Results go to stdout, progress and errors to stderr. With \`--output json\` results and errors are JSON. An
error shows its [code](errors.md) and what to do next.

These options are known to every command:

${optionTable(Object.entries(COMMANDS[0].options).filter(([name]) => general.includes(name)))}

${COMMANDS.map(commandPart).join('\n\n')}

## Exit codes

${table(['Exit code', 'Name'], exits)}

Which error ends with which exit code is in [errors.md](errors.md).
`;
}

async function limitsPage() {
  const [{ LIMITS }] = await loadSources(['src/base/limits.ts']);
  const rows = Object.entries(LIMITS).map(([name, value]) => [`\`${name}\``, value.toLocaleString('en-US')]);
  return `# Limits

Made from \`src/base/limits.ts\` by \`npm run fix\`; do not edit. The source says what each one is for; it
also asserts how they depend on each other.

${table(['Limit', 'Value'], rows)}
`;
}

/** A metric's name is followed by its help text wherever one is declared. */
async function metricsPage() {
  const made = String.raw`(?:new (\w+)(?:<[^>]*>)?\(\{\s*name:\s*)?`;
  const help = String.raw`(?:help:\s*)?(?:'([^']+)'|"([^"]+)")?`;
  const metrics = new RegExp(String.raw`${made}'(tidemark_[a-z_]+)',\s*${help}`, 'g');
  const rows = sources('src').flatMap(({ path, text }) =>
    [...text.matchAll(metrics)].map(([, kind = 'Gauge', metric, plain, quoted]) => {
      const meaning = plain ?? quoted;
      if (meaning === undefined) throw new Error(`${path}: ${metric} has no help text beside its name`);
      return [`\`${metric}\``, kind.toLowerCase(), meaning, path];
    }),
  );
  rows.sort(([a], [b]) => (a < b ? -1 : 1));
  const shown = rows.map(([name, kind, help, path]) => [name, kind, help, `\`${path.split('/')[1]}\``]);
  return `# Metrics

Made from the sources by \`npm run fix\`; do not edit.

Every process that is given \`--http-listen\` serves \`/metrics\` in the Prometheus text format. Each metric
carries the label \`role\`. Node's own metrics (memory, CPU, garbage collection, handles) are there under the
names that prom-client gives them.

${table(['Metric', 'Kind', 'Meaning', 'From'], shown)}
`;
}

const pages = [
  ['docs/reference/errors.md', errorsPage],
  ['docs/reference/rules.md', rulesPage],
  ['docs/reference/planted-bugs.md', plantedBugsPage],
  ['docs/reference/raft-requirements.md', raftRequirementsPage],
  ['docs/reference/cli.md', cliPage],
  ['docs/reference/limits.md', limitsPage],
  ['docs/reference/metrics.md', metricsPage],
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

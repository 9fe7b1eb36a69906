// npm run bench:tasks [-- --changes 9000 --windows 4]
// What one task costs in processor time, by kind of report: its SQL in the store, its merge in the report
// database, and the executor around both. Change rows are written straight into a store, as a collector would
// seal them, so that a busy machine changes the figures little; the mix is that of bench:windows.
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { KINDS, startTasks } from './tasks/place.mjs';
import { changesOf } from './tasks/changes.mjs';
import { cpuMs } from './windows/processor-time.mjs';

const { values: options } = parseArgs({
  options: {
    changes: { type: 'string', default: '9000' },
    windows: { type: 'string', default: '4' },
    help: { type: 'boolean', default: false },
  },
});
const say = (line) => process.stdout.write(`${line}\n`);
if (options.help) {
  say('bench:tasks: processor time of a task by kind of report, over windows written straight into a store.');
  say('  --changes N   row changes a window, in the mix of bench:windows (default 9000: 3,000/s, 3 s)');
  say('  --windows N   windows measured after the first (default 4)');
  process.exit(0);
}

const changes = Number(options.changes);
const windows = Number(options.windows);
say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}; ${changes} row changes a window`);
const place = await startTasks();
const { servers } = place;
const own = () => (process.cpuUsage().user + process.cpuUsage().system) / 1_000;
const ofServers = () => ({ store: cpuMs(servers.store.pid), reports: cpuMs(servers.reports.pid) });
// Looking at the servers takes time too: this process is asked last before, and first after.
const now = () => ({ ...ofServers(), executor: own() });
const spent = new Map();
const add = (what, before, rows = 0) => {
  const executor = own();
  const after = { ...ofServers(), executor };
  const sum = spent.get(what) ?? { store: 0, reports: 0, executor: 0, rows: 0, times: 0 };
  for (const part of ['store', 'reports', 'executor']) sum[part] += after[part] - before[part];
  sum.rows += rows;
  sum.times += 1;
  spent.set(what, sum);
};

const load = changesOf(1);
for (let window = 1; window <= windows + 1; window += 1) {
  const measured = window > 1;
  const rows = window === 1 ? load.first(20_000) : load.next(changes);
  let before = now();
  await place.write(window, rows);
  if (measured) add('change rows written', before, rows.length);
  before = now();
  await place.advance(window);
  if (measured) add('row states advanced', before, rows.length);
  before = now();
  await place.compute('few', window);
  if (measured) add('few: first compute, with its copy', before);
  for (const kind of KINDS) {
    before = now();
    const computed = await place.compute(kind, window);
    if (measured) add(`${kind}: compute`, before, computed.rowsOut);
    before = now();
    await place.merge(kind, window, computed);
    if (measured) add(`${kind}: merge`, before, computed.rowsOut);
  }
}
if (windows > 2) {
  for (const kind of KINDS) {
    const before = now();
    const spans = await place.fold(kind, windows);
    add(`${kind}: fold`, before);
    spent.get(`${kind}: fold`).times = spans;
  }
}
say('');
say('milliseconds of processor time each   store  reports executor     rows');
for (const [what, sum] of spent) {
  const figures = [sum.store, sum.reports, sum.executor].map((ms) => (ms / sum.times).toFixed(1).padStart(8));
  say(`${what.padEnd(34)} ${figures.join(' ')} ${String(Math.round(sum.rows / sum.times)).padStart(8)}`);
}
say('');
const MIX = { few: 28, many: 30, dimension: 25, join: 10, multisets: 5 };
const total = { store: 0, reports: 0, executor: 0 };
for (const [what, sum] of spent) {
  const [kind, step] = what.split(':');
  // An executor pays once for the copies that its tasks of a window share; there are two.
  const times = step?.includes('copy') ? 2 : (MIX[kind] ?? 1);
  for (const part of Object.keys(total)) total[part] += (times * sum[part]) / sum.times / 1_000;
}
const all = total.store + total.reports + total.executor;
say('seconds for a window of 100 reports in the mix:');
for (const part of Object.keys(total)) say(`  ${part.padEnd(9)} ${total[part].toFixed(2)}`);
say(`  all       ${all.toFixed(2)}`);
await place.stop();

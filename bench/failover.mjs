// npm run bench:failover [-- --kills N --stops N --terms N]
// How long writes stop when the leader is killed (SIGKILL), falls silent (SIGSTOP) or is asked to end
// (SIGTERM): from the signal until the first write that began after it has succeeded, with other writes
// under way.
import { parseArgs } from 'node:util';
import { connect } from '../dist/client/index.js';
import { median, pause, startCluster, until } from './cluster.mjs';

const { values: options } = parseArgs({
  options: {
    kills: { type: 'string', default: '30' },
    stops: { type: 'string', default: '5' },
    terms: { type: 'string', default: '10' },
    writers: { type: 'string', default: '16' },
  },
});
const say = (line) => process.stdout.write(`${line}\n`);
const VALUE = Buffer.alloc(128, 'v');

const cluster = await startCluster('kv');
const client = connect({ endpoints: cluster.clients, deadlineMs: 20_000 });
await until('init', () => client.init(cluster.clients));
await until('first write', () => client.kv.put('first', 'x'));

let ended = false;
let failed = 0;
const writers = Array.from({ length: Number(options.writers) }, async (_, n) => {
  while (!ended) {
    try {
      await client.kv.put(`load-${n}`, VALUE);
    } catch {
      failed += 1;
    }
    await pause(1);
  }
});

/** Position of the leader, once every process follows it and has its log. */
async function settledLeader() {
  return until('one leader', async () => {
    const statuses = (await client.status()).map((one) => one.status);
    const leader = statuses.findIndex((status) => status?.role === 'leader');
    const index = statuses[leader]?.commitIndex ?? 0n;
    const level = statuses.every(
      (status) => status?.leaderId === statuses[leader]?.memberId && status.appliedIndex + 2_000n > index,
    );
    if (leader < 0 || !level) throw new Error('not settled');
    return leader;
  });
}

async function measure(signal) {
  const leader = await settledLeader();
  // Not in step with heartbeats.
  await pause(100 + Math.random() * 200);
  const node = cluster.nodes[leader];
  const at = performance.now();
  node.kill(signal);
  await client.kv.put('probe', VALUE);
  const stoppedMs = performance.now() - at;
  if (signal === 'SIGSTOP') node.kill('SIGCONT');
  else {
    await node.gone;
    cluster.restart(leader);
  }
  return stoppedMs;
}

for (const [signal, times] of [
  ['SIGKILL', options.kills],
  ['SIGSTOP', options.stops],
  ['SIGTERM', options.terms],
]) {
  const all = [];
  for (let n = 0; n < Number(times); n++) all.push(await measure(signal));
  if (all.length === 0) continue;
  say(`${signal} of the leader, ${all.length} times: ${all.map((ms) => Math.round(ms)).join(' ')} ms`);
  say(`${signal} median ${median(all).toFixed(0)} ms, most ${Math.max(...all).toFixed(0)} ms`);
}
ended = true;
await Promise.all(writers);
client.close();
await cluster.stop();
say(`writes whose outcome stayed unknown or that failed: ${failed}`);
process.exit(failed === 0 ? 0 : 1);

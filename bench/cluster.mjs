// Three real processes of one kind on this machine, in a folder of their own: coordinators, coordinators
// whose state machine does nothing, or etcd at its defaults.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/**
 * @param kind 'kv', 'nothing', or { etcd: path of the program }
 * @param stages whether coordinators tell their stages (stages-hook.mjs)
 * @param pauses whether they write down how long their event loops stood still (pauses-hook.mjs)
 */
export async function startCluster(kind, { stages = false, pauses = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'));
  const ports = await freePorts(6);
  const clients = ports.slice(0, 3).map((port) => `127.0.0.1:${port}`);
  const peers = ports.slice(3).map((port) => `127.0.0.1:${port}`);
  const command = (n) => {
    if (kind === 'kv') {
      const options = ['--data', join(folder, `c${n}`), '--log-level', 'error'];
      const addresses = ['--peer-listen', peers[n], '--client-listen', clients[n]];
      return [
        process.execPath,
        [at('../dist/cli/main.js'), 'coordinator', 'start', ...options, ...addresses],
      ];
    }
    if (kind === 'nothing') {
      return [process.execPath, [at('./nothing-node.mjs'), String(n), folder, peers.join(), clients.join()]];
    }
    const initial = peers.map((peer, i) => `m${i}=http://${peer}`).join();
    const own = [`--listen-client-urls=http://${clients[n]}`, `--advertise-client-urls=http://${clients[n]}`];
    const peer = [
      `--listen-peer-urls=http://${peers[n]}`,
      `--initial-advertise-peer-urls=http://${peers[n]}`,
    ];
    const data = [`--name=m${n}`, `--data-dir=${join(folder, `m${n}`)}`, `--initial-cluster=${initial}`];
    return [kind.etcd, [...own, ...peer, ...data, '--log-level=error']];
  };
  const start = (n) => {
    const [program, words] = command(n);
    const hook = { NODE_OPTIONS: `--import ${at('./stages-hook.mjs')}`, TIDEMARK_BENCH_STAGES: folder };
    const also = { ...(stages ? hook : {}), ...(pauses ? pausesIn(folder) : {}) };
    const env = { ...process.env, UV_THREADPOOL_SIZE: '8', ...also };
    const child = spawn(program, words, {
      stdio: ['ignore', 'ignore', kind.etcd === undefined ? 'inherit' : 'ignore'],
      env,
    });
    child.gone = new Promise((resolve) => child.once('exit', resolve));
    return child;
  };
  const nodes = [0, 1, 2].map(start);
  // Also when the benchmark fails.
  process.once('exit', () => {
    for (const node of nodes) node.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    clients,
    folder,
    nodes,
    restart(n) {
      nodes[n] = start(n);
    },
    async stop() {
      for (const node of nodes) node.kill('SIGKILL');
      await Promise.all(nodes.map((node) => node.gone));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Environment of a coordinator that writes down its pauses in `folder`. */
export const pausesIn = (folder) => ({
  NODE_OPTIONS: `--import ${at('./pauses-hook.mjs')}`,
  TIDEMARK_BENCH_PAUSES: folder,
});

/** Calls `attempt` until it resolves. */
export async function until(what, attempt, withinMs = 20_000) {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > endsAt) throw new Error(`${what}: not within ${withinMs} ms`, { cause: error });
      await pause(50);
    }
  }
}

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// Real coordinators, each on a disk of its own, and the load whose acknowledgements are kept.
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '../../dist/client/index.js';
import { freePorts, pause, until } from '../../bench/cluster.mjs';
import { Disk } from './disks.mjs';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const WRITERS = 16;

const newDisk = (path) => new Disk(path);

/** A folder where {@link Members} expects a disk. */
export function plainFolder(path) {
  mkdirSync(path);
  return { path, discard: () => undefined };
}

export class Members {
  disks;
  nodes = [];
  client;
  #folder;
  #ports;
  #advertised;
  #mutations;
  #testBuild;

  /**
   * @param mutations rules that are switched off, in the test build
   * @param disk makes the disk of a member
   * @param before returns the ports under which others reach these peer ports
   */
  static async start(
    folder,
    size,
    { mutations = [], testBuild = mutations.length > 0, disk = newDisk, before = (ports) => ports } = {},
  ) {
    const made = new Members();
    made.#folder = folder;
    made.#mutations = mutations;
    made.#testBuild = testBuild;
    made.#ports = await freePorts(2 * size);
    made.#advertised = await before(made.#ports.slice(size));
    made.disks = Array.from({ length: size }, (_, at) => disk(join(folder, `disk-${at}`)));
    for (let at = 0; at < size; at++) made.run(at);
    made.client = connect({ endpoints: made.endpoints, deadlineMs: 3_000 });
    try {
      await until('init', () => made.#init());
      await made.serving();
    } catch (error) {
      await made.stop();
      throw error;
    }
    return made;
  }

  /** What was done already, though its answer came too late, is done. */
  async #init() {
    try {
      await this.client.init(this.endpoints);
    } catch (error) {
      if (error.code !== 'ALREADY_INITIALIZED') throw error;
    }
  }

  get endpoints() {
    return this.#ports.slice(0, this.disks.length).map((port) => `127.0.0.1:${port}`);
  }

  /** @param env of this start only */
  run(at, env = {}) {
    const size = this.disks.length;
    const ports = {
      'peer-listen': this.#ports[size + at],
      'peer-advertise': this.#advertised[at],
      'client-listen': this.#ports[at],
    };
    const addresses = Object.entries(ports).flatMap(([name, port]) => [`--${name}`, `127.0.0.1:${port}`]);
    const conditions = this.#testBuild ? ['--conditions=tidemark-test'] : [];
    const words = [...conditions, MAIN, 'coordinator', 'start', '--data', join(this.disks[at].path, 'data')];
    const log = openSync(this.#logOf(at), 'a');
    const node = spawn(process.execPath, [...words, ...addresses, '--log-format', 'json'], {
      stdio: ['ignore', log, log, 'ipc'],
      env: { ...process.env, TIDEMARK_MUTATIONS: this.#mutations.join(), ...env },
    });
    node.gone = new Promise((resolve) =>
      node.once('exit', (code) => resolve((node.ended = code ?? 'killed'))),
    );
    this.nodes[at] = node;
  }

  async kill(positions) {
    for (const at of positions) this.nodes[at].kill('SIGKILL');
    await Promise.all(positions.map((at) => this.nodes[at].gone));
  }

  logOf(at) {
    return readFileSync(this.#logOf(at), 'utf8');
  }

  /** Resolves when the cluster answers a linearizable read. A member that ended instead is told at once. */
  async serving() {
    await until('a cluster that serves', async () => {
      const ended = this.nodes.findIndex((node) => node.ended !== undefined);
      if (ended >= 0) throw new Error(`member ${ended} ended: ${lastLine(this.logOf(ended))}`);
      await this.client.kv.get('first');
    });
  }

  /** Resolves with the position of the leader when all follow it and have its log. */
  async level(withinMs) {
    const look = async () => {
      const statuses = (await this.client.status()).map((one) => one.status);
      const leader = statuses.findIndex((status) => status?.role === 'leader');
      const found = statuses[leader];
      const level = statuses.every(
        (status) => status?.leaderId === found?.memberId && status.appliedIndex >= found.commitIndex,
      );
      if (found === undefined || !level) throw new Error('not level');
      return leader;
    };
    return until('members that are level', look, withinMs);
  }

  async stop() {
    this.client.close();
    await this.kill(this.nodes.map((_, at) => at));
    for (const disk of this.disks) await disk.discard();
  }

  #logOf(at) {
    return join(this.#folder, `member-${at}.log`);
  }
}

/** Writes keys that are used once each, and remembers what was said of each. */
export class Load {
  acknowledged = new Map();
  inDoubt = new Map();
  refused = new Map();
  /** The longest time without an acknowledgement. */
  gapMs = 0;
  #client;
  #writerCount;
  #writers = [];
  #count = 0;
  #ended = false;
  #lastMs = 0;

  constructor(client, writers = WRITERS) {
    this.#client = client;
    this.#writerCount = writers;
  }

  begin() {
    this.#ended = false;
    this.#lastMs = performance.now();
    this.#writers = Array.from({ length: this.#writerCount }, () => this.#write());
  }

  async end() {
    this.#ended = true;
    await Promise.all(this.#writers);
  }

  /** Compares what is there with what was said. Returns what is wrong, in words. */
  async judge() {
    const wrong = [];
    const check = async ([key, value], judged) => {
      const found = await until('a read', () => this.#client.kv.get(key));
      const text = found === undefined ? undefined : Buffer.from(found.value).toString();
      if (!judged(text, value)) wrong.push(`${key}: ${text}`);
    };
    await inParallel([...this.acknowledged], (one) => check(one, (text, value) => text === value));
    await inParallel([...this.refused], (one) => check(one, (text) => text === undefined));
    let present = 0;
    await inParallel([...this.inDoubt], (one) =>
      check(one, (text, value) => {
        if (text !== undefined) present += 1;
        return text === undefined || text === value;
      }),
    );
    return { wrong, present };
  }

  async #write() {
    while (!this.#ended) {
      const key = `k${this.#count++}`;
      const value = `${key} ${'v'.repeat(100)}`;
      try {
        await this.#client.kv.put(key, value);
        this.acknowledged.set(key, value);
        this.gapMs = Math.max(this.gapMs, performance.now() - this.#lastMs);
        this.#lastMs = performance.now();
      } catch (error) {
        (error.code === 'OUTCOME_UNKNOWN' ? this.inDoubt : this.refused).set(key, value);
        await pause(20);
      }
    }
  }
}

async function inParallel(items, work) {
  let next = 0;
  const workers = Array.from({ length: 64 }, async () => {
    while (next < items.length) await work(items[next++]);
  });
  await Promise.all(workers);
}

export const lastLine = (text) => text.trim().split('\n').at(-1);

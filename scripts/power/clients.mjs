// Clients that write and read registers the whole time, and keep what they saw (history.mjs).
import { performance } from 'node:perf_hooks';
import { connect } from '../../dist/client/index.js';
import { pause } from '../../bench/cluster.mjs';
import { Registers } from './history.mjs';

const REGISTERS = 4;

export class Clients {
  registers = new Registers();
  #ended = false;
  #all = [];
  #open = [];
  #pauseMs;

  /** @param pauseMs of each client between two requests */
  constructor(endpoints, pauseMs = 1) {
    this.#pauseMs = pauseMs;
    for (let at = 0; at < REGISTERS; at++) this.#begin(endpoints, (kv) => this.#write(kv, `r${at}`));
    // One for each member that asks no other: an old leader answers only those that are still with it.
    for (const endpoint of endpoints) {
      for (let at = 0; at < REGISTERS; at++)
        this.#begin([endpoint], (kv) => this.#read(kv, `r${at}`, endpoint));
    }
  }

  async end() {
    this.#ended = true;
    await Promise.all(this.#all);
    for (const client of this.#open) client.close();
    this.registers.judge();
  }

  #begin(endpoints, work) {
    const client = connect({ endpoints, deadlineMs: 2_000 });
    this.#open.push(client);
    this.#all.push(work(client.kv));
  }

  async #write(kv, key) {
    for (let value = 1; !this.#ended; value++) {
      this.registers.issue(key, value);
      // What is in doubt is written again until it is certain: so the values of a register only grow.
      while (!(await quietly(() => kv.put(key, String(value))))) if (this.#ended) return;
      this.registers.acknowledge(key, value);
      await pause(this.#pauseMs);
    }
  }

  async #read(kv, key, where) {
    while (!this.#ended) {
      const invokedAt = performance.now();
      const found = await quietly(async () => ({ row: await kv.get(key) }));
      if (found !== undefined) {
        const value = found.row === undefined ? 0 : Number(Buffer.from(found.row.value).toString());
        this.registers.read(key, value, invokedAt, where);
      }
      await pause(this.#pauseMs);
    }
  }
}

/** A refusal or an unknown outcome is a fact of these runs, not an error. */
async function quietly(call) {
  try {
    return await call();
  } catch (error) {
    if (error.code === undefined) throw error;
    await pause(5);
    return undefined;
  }
}

// Questions that readers ask of the reports while they are written: single groups, at a rate.
import mysql from 'mysql2/promise';
import { pause } from '../cluster.mjs';
import { CUSTOMERS, SHOPS } from './mix.mjs';
import { percentile } from './freshness.mjs';

const CONNECTIONS = 4;

export async function runQueries({ url, reports, rate, signal }) {
  const names = Object.keys(reports);
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => mysql.createConnection({ uri: url })),
  );
  const latencies = [];
  let asked = 0;
  const beganAt = performance.now();
  const ask = async (connection) => {
    const name = names[asked % names.length];
    const [key] = Object.keys(reports[name].keys);
    const value = key === 'country' ? 'de' : 1 + (asked % (key === 'k' ? CUSTOMERS : SHOPS));
    const at = performance.now();
    await connection.query(`SELECT * FROM ${name} WHERE ${key} = ? LIMIT 20`, [value]);
    latencies.push(performance.now() - at);
  };
  const worker = async (connection) => {
    while (!signal.aborted) {
      if (asked >= ((performance.now() - beganAt) / 1_000) * rate) {
        await pause(2);
        continue;
      }
      asked += 1;
      await ask(connection);
    }
  };
  await Promise.all(connections.map(worker));
  const seconds = (performance.now() - beganAt) / 1_000;
  await Promise.all(connections.map((connection) => connection.end()));
  return { rate: asked / seconds, p50: percentile(latencies, 50), p99: percentile(latencies, 99) };
}

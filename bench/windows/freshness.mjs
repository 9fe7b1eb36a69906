// Freshness, looked at from outside: from the return of a COMMIT in the source until the watermark of every
// report includes that transaction.
import mysql from 'mysql2/promise';
import { pause } from '../cluster.mjs';

const LOOK_EVERY_MS = 25;

export async function freshnessMeter({ url, reports }) {
  const connection = await mysql.createConnection({ uri: url });
  const pending = [];
  const samples = [];
  let ended = false;

  /** The least sequence number that every report has reached; MariaDB writes domain-server-sequence. */
  const reached = async () => {
    const [rows] = await connection
      .query('SELECT position_text AS position FROM tm_watermark')
      // The tables are made a moment after the job was accepted.
      .catch((error) => (error.code === 'ER_NO_SUCH_TABLE' ? [[]] : Promise.reject(error)));
    if (rows.length < reports) return 0;
    return Math.min(...rows.map(({ position }) => sequenceOf(position)));
  };
  const look = async () => {
    while (!ended) {
      const least = pending.length === 0 ? 0 : await reached();
      const now = performance.now();
      while (pending.length > 0 && pending[0].sequence <= least) samples.push(now - pending.shift().at);
      await pause(LOOK_EVERY_MS);
    }
  };
  const looking = look();
  return {
    samples,
    reached,
    /** The reports that show the fewest and the most windows: far apart, one stands still. */
    async spread() {
      const [rows] = await connection.query(
        'SELECT report, last_window AS shown FROM tm_watermark ORDER BY 2',
      );
      return [rows[0], rows.at(-1)];
    },
    /** Age of the oldest commit that some report does not show, in milliseconds. */
    oldest: () => (pending.length === 0 ? 0 : performance.now() - pending[0].at),
    add(at, gtid) {
      pending.push({ at, sequence: sequenceOf(gtid) });
      pending.sort((a, b) => a.sequence - b.sequence);
    },
    async stop() {
      ended = true;
      await looking;
      await connection.end();
    },
  };
}

export const sequenceOf = (gtid) => Number(gtid.split('-')[2] ?? 0);

export function percentile(samples, percent) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

// The naive way: every report again over the whole table. What one refresh of all reports costs the server,
// at several sizes of the table.
import mysql from 'mysql2/promise';
import { cpuOf } from './processor-time.mjs';

/** Seconds of processor time of one refresh of `reports`, at each number of rows of `orders`. */
export async function naiveCosts({ server, url, reports, sizes }) {
  const connection = await mysql.createConnection({ uri: url });
  const costs = [];
  for (const rows of sizes) {
    await connection.query('DROP DATABASE IF EXISTS naive');
    await connection.query('CREATE DATABASE naive');
    await connection.query('CREATE TABLE naive.orders LIKE bench.orders');
    await connection.query('CREATE TABLE naive.payments LIKE bench.payments');
    await connection.query('CREATE TABLE naive.shops LIKE bench.shops');
    await connection.query('INSERT INTO naive.shops SELECT * FROM bench.shops');
    await connection.query(
      `INSERT INTO naive.orders SELECT seq, 1 + seq % 200, 1 + (seq * 7919) % 5000, seq % 5,
        100 + seq % 99991,
        IF(seq % 3 = 0, NULL, seq % 500), 1790000000000 + seq * 7, 'bench' FROM seq_1_to_${rows}`,
    );
    await connection.query(
      `INSERT INTO naive.payments SELECT seq, seq, 1 + seq % 200, seq % 4, 100 + seq % 99991
       FROM seq_1_to_${Math.ceil((rows * 2) / 3)}`,
    );
    await connection.query('USE naive');
    const before = cpuOf(server.pid);
    for (const { oracle } of Object.values(reports)) await connection.query(oracle);
    costs.push({ rows, seconds: cpuOf(server.pid) - before });
    await connection.query('USE bench');
  }
  await connection.query('DROP DATABASE naive');
  await connection.end();
  return costs;
}

/** The number of rows at which a refresh costs `seconds`: along the line through the two largest sizes. */
export function sizeAt(costs, seconds) {
  const [left, right] = costs.slice(-2);
  const slope = (right.seconds - left.seconds) / (right.rows - left.rows);
  return Math.max(0, Math.round(right.rows + (seconds - right.seconds) / slope));
}

// Connections of the oracle, which shares none with what it checks.
import mysql from 'mysql2/promise';

export async function connected(uri, work) {
  const connection = await mysql.createConnection({ uri, supportBigNumbers: true, bigNumberStrings: true });
  try {
    return await work(async (sql, values) => (await connection.query(sql, values))[0]);
  } finally {
    connection.destroy();
  }
}

export async function tablesLike(query, prefix) {
  const rows = await query('SHOW TABLES LIKE ?', [`${prefix.replaceAll('_', '\\_')}%`]);
  return rows.map((row) => Object.values(row)[0]);
}

import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openStateMachine } from '../../src/statemachine/index.ts';
import { rule } from '../support/rule.ts';
import { CLUSTER, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';
import { watchedDatabase } from './support/watched-database.ts';

const history = randomHistory(31, 40);

/** Keeps LevelDB from making its next files of a kind, as a full disk does: folders have their names. */
async function blockNextFiles(folder: string, ending: 'ldb' | 'log'): Promise<void> {
  const numbers = (await readdir(folder)).map((name) => Number(/\d+/.exec(name)?.[0] ?? 0));
  const last = Math.max(...numbers);
  for (let next = last + 1; next <= last + 10; next++) {
    await mkdir(join(folder, `${String(next).padStart(6, '0')}.${ending}`));
  }
}

rule('state.flushTakenOnTrust', 'a flush says so when no table can be made', async () => {
  const folder = await temporaryFolder();
  const machine = await openStateMachine({ folder, clusterId: CLUSTER });
  await machine.apply(history);
  await blockNextFiles(folder, 'ldb');
  try {
    await expect(machine.snapshots.flush()).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  } finally {
    await machine.close();
  }
});

rule('state.flushNotSynced', 'a flush that can begin no log file has synced the one in use', async () => {
  const folder = await temporaryFolder();
  /** Bytes of rows that a loss of power would take from the log file. */
  let unsynced = 0;
  const openDatabase = watchedDatabase(({ bytes, sync }) => {
    unsynced = sync ? 0 : unsynced + bytes;
    return Promise.resolve();
  });
  const machine = await openStateMachine({ folder, clusterId: CLUSTER, openDatabase });
  await machine.apply(history);
  await blockNextFiles(folder, 'log');
  const written = unsynced;
  try {
    expect(await machine.snapshots.flush()).toBe(history.length);
    expect(unsynced).toBeLessThan(written);
    expect((await readdir(folder)).filter((name) => name.endsWith('.ldb'))).toEqual([]);
  } finally {
    await machine.close();
  }
});

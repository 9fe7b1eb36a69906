import { expect } from 'vitest';
import { encodeWrites, keyValuePath } from '../../src/base/index.ts';
import { encodeEntry } from '../../src/statemachine/index.ts';
import { PassingRows } from '../../src/statemachine/passing-rows.ts';
import { readState } from '../../src/statemachine/state-snapshots.ts';
import { rule } from '../support/rule.ts';
import { applyRest, CLUSTER, open, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';

const history = randomHistory(31, 100);

function keysWritten(): Uint8Array {
  const writes = Array.from({ length: 300 }, (_, n) => {
    return { path: keyValuePath('test', `k${n}`), value: Buffer.alloc(2_000, n), expected: undefined };
  });
  const operations = [{ type: 'kv.write', v: 1, writes: encodeWrites(writes) } as const];
  return encodeEntry({ logTimeMs: 0, wallMs: 0, items: [{ session: 0, sequence: 0, operations }] });
}

rule('backup.keepsRows', 'a backup is checked, and no keys and values of it are held', async () => {
  const machine = await open(await temporaryFolder());
  await applyRest(machine, history, 50);
  const { term } = history.at(-1) ?? { term: 1 };
  await machine.apply([{ index: history.length + 1, term, data: keysWritten() }]);
  const { digest, sessions } = machine.view();
  expect(sessions.size).toBeGreaterThan(0);
  const rows = new PassingRows();
  await readState(machine.snapshot(), CLUSTER, rows);
  expect(rows.loaded()).toBe(digest);
  expect([rows.keys, rows.others.sessions.size]).toEqual([300, sessions.size]);
  expect(rows.others.keyValues.heldBytes).toBe(0);
  await machine.close();
});

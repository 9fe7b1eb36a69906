import { join } from 'node:path';
import { encodeWrites, logIndex, must, term } from '../../src/base/index.ts';
import { readIdentity } from '../../src/coordinator/members/identity.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import { openFileWitness, openLevelKeyValue, openLogStore } from '../../src/raft/log-store/index.ts';
import { encodeEntry } from '../../src/statemachine/index.ts';

/** Puts a write at the end of a stopped member's log, which nobody has committed; answers its index. */
export async function appendWrite(dataFolder: string, key: string): Promise<number> {
  const { clusterId, memberId } = must(await readIdentity(dataFolder), 'an identity');
  const path = join(dataFolder, 'log');
  const options = { clusterId, memberId, folder: path, mustExist: true, sync: true };
  const store = await openLogStore(await openLevelKeyValue(path), await openFileWitness(path), options);
  const prevTerm = must(store.termAt(store.lastIndex), 'the last term');
  const operations = [
    {
      type: 'kv.write',
      v: 1,
      writes: encodeWrites([{ path: key, value: Buffer.from('x'), expected: undefined }]),
    },
  ] as const;
  const data = encodeEntry({ logTimeMs: 1, wallMs: 1, items: [{ session: 0, sequence: 0, operations }] });
  const index = logIndex(store.lastIndex + 1);
  const entry = makeEntry({ index, term: term(prevTerm + 1), prevTerm }, data);
  await store.write({
    hardState: { term: entry.term, vote: undefined },
    log: { from: index, entries: [entry] },
  });
  await store.close();
  return index;
}

/** What a crash in the middle of a snapshot's installation left behind. */
import { logIndex } from '../../base/index.ts';
import type { LogStore } from '../log-store/index.ts';
import type { ReplicatedStateMachine } from '../types.ts';

/**
 * After a crash between a snapshot's installation and the log's: the state stands where the log does not
 * reach, or holds another entry. Nothing was applied after the snapshot, so the log begins after it.
 */
export async function followInstalled(store: LogStore, stateMachine: ReplicatedStateMachine): Promise<void> {
  const installed = stateMachine.snapshots?.installed;
  if (installed === undefined || installed.index <= store.base.index) return;
  if (store.termAt(installed.index) === installed.term) return;
  const { hardState } = store;
  const behind = hardState.term < installed.term;
  await store.write({
    hardState: behind ? { term: installed.term, vote: undefined } : undefined,
    log: { from: logIndex(installed.index + 1), entries: [], base: installed },
  });
}

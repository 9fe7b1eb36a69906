/** What a crash in the middle of a snapshot's installation left behind. */
import { TidemarkError, logIndex } from '../../base/index.ts';
import type { LogBase } from '../core/index.ts';
import type { LogStore } from '../log-store/index.ts';
import type { Configuration, ReplicatedStateMachine } from '../types.ts';

/**
 * After a crash between a snapshot's installation and the log's: the state stands where the log does not
 * reach, or holds another entry. Nothing was applied after the snapshot, so the log begins after it, with the
 * members that were written down before the installation. A log in which nothing was ever written begins with
 * the `initial` ones: its state was put there before the member first ran.
 *
 * @throws TidemarkError `DATA_CORRUPT` if the log knows nothing of that snapshot.
 */
export async function followInstalled(
  store: LogStore,
  stateMachine: ReplicatedStateMachine,
  initial: Configuration,
): Promise<void> {
  const installed = stateMachine.snapshots?.installed;
  if (installed === undefined || installed.index <= store.base.index) return;
  if (store.termAt(installed.index) === installed.term) return;
  const { hardState } = store;
  const configuration = configurationOf(installed, store, initial);
  const behind = hardState.term < installed.term;
  await store.write({
    hardState: behind ? { term: installed.term, vote: undefined } : undefined,
    log: { from: logIndex(installed.index + 1), entries: [], base: { ...installed, configuration } },
  });
}

function configurationOf(installed: LogBase, store: LogStore, initial: Configuration): Configuration {
  const { incoming, hardState, lastIndex } = store;
  if (incoming?.index === installed.index && incoming.term === installed.term) return incoming.configuration;
  if (hardState.term === 0 && lastIndex === 0) return initial;
  const text = `the state was installed at entry ${installed.index}, of which the log knows nothing`;
  throw new TidemarkError('DATA_CORRUPT', text, {
    next: 'Log and state belong together: put the whole data folder back, or replace this member.',
  });
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { clusterId } from '../../../src/base/index.ts';
import {
  openStateMachine,
  restoreState,
  type AppliedEntry,
  type StateMachine,
} from '../../../src/statemachine/index.ts';

export const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-state-'));
  folders.push(folder);
  return folder;
}

export async function open(folder: string): Promise<StateMachine> {
  return openStateMachine({ folder: join(folder, 'state'), clusterId: CLUSTER });
}

/** Fills `folder` itself from a snapshot, and opens it. */
export async function restored(folder: string, chunks: AsyncIterable<Uint8Array>): Promise<StateMachine> {
  const options = { folder, clusterId: CLUSTER };
  await restoreState(options, chunks);
  return openStateMachine(options);
}

/** Applies what the machine has not seen yet of a history, in groups of the given size. */
export async function applyRest(
  machine: StateMachine,
  history: readonly AppliedEntry[],
  groupOf: number,
): Promise<Uint8Array[]> {
  const replies: Uint8Array[] = [];
  for (let from = machine.appliedIndex; from < history.length; from += groupOf) {
    replies.push(...(await machine.apply(history.slice(from, from + groupOf))));
  }
  return replies;
}

/** Resolves when the database has what was applied: a snapshot is read from there. */
export async function written(machine: StateMachine): Promise<void> {
  for await (const chunk of machine.snapshot()) if (chunk.length === 0) throw new Error('an empty chunk');
}

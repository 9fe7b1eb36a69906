import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  clusterId,
  isTidemarkError,
  logIndex,
  memberId,
  must,
  systemClock,
  term,
  type ErrorCode,
} from '../../src/base/index.ts';
import { foundRaftFolder, startRaftNode, type RaftNode, type RaftOptions } from '../../src/raft/index.ts';
import { startOnStore } from '../../src/raft/driver/index.ts';
import { MemoryDisk, openLogStore } from '../../src/raft/log-store/index.ts';
import { eventually } from '../support/eventually.ts';
import { EchoStateMachine } from './support/echo-state-machine.ts';
import { CLUSTER, quiet } from './support/grpc-cluster.ts';
import { StateDisk, TextsState } from './support/texts-state.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-start-'));
});
afterEach(() => rm(folder, { recursive: true }));

function optionsFor(changes: Partial<RaftOptions> = {}): RaftOptions {
  return {
    clusterId: CLUSTER,
    memberId: memberId(1),
    initialMembers: [{ id: memberId(1), peerAddress: '', clientAddress: '' }],
    folder: join(folder, 'log'),
    transport: { send: () => undefined, onFrame: () => undefined, close: () => Promise.resolve() },
    stateMachine: new EchoStateMachine(),
    clock: systemClock,
    log: quiet,
    onStatus: () => undefined,
    onFatal: () => undefined,
    ...changes,
  };
}

async function leading(options: RaftOptions): Promise<RaftNode> {
  const node = await startRaftNode(options);
  await eventually(() => node.status().leading, { withinMs: 5_000 });
  return node;
}

/** Runs a member long enough to have a log of a few entries. */
async function logOf(options: RaftOptions): Promise<void> {
  const node = await leading(options);
  for (const text of ['a', 'b', 'c']) await node.propose(Buffer.from(text));
  await node.stop();
}

const coded = (code: ErrorCode): unknown =>
  expect.toSatisfy((error: unknown) => {
    return isTidemarkError(error, code) && error.next !== undefined && error.message.includes(folder);
  });

test('a second node on the same folder is refused, and the first goes on', async () => {
  const node = await leading(optionsFor());
  await expect(startRaftNode(optionsFor())).rejects.toEqual(coded('DATA_IN_USE'));
  await node.propose(Buffer.from('still here'));
  await node.stop();
});

test('a folder of another cluster or member is refused', async () => {
  await logOf(optionsFor());
  const other = clusterId('ffffffffffffffffffffffffffffffff');
  await expect(startRaftNode(optionsFor({ clusterId: other }))).rejects.toEqual(
    coded('DATA_OF_OTHER_CLUSTER'),
  );
});

test('a file that was cut off is refused', async () => {
  await logOf(optionsFor());
  const names = await readdir(join(folder, 'log'));
  await truncate(
    join(
      folder,
      'log',
      must(
        names.find((name) => name.endsWith('.log')),
        'a log file',
      ),
    ),
    50,
  );
  await expect(startRaftNode(optionsFor())).rejects.toEqual(coded('DATA_CORRUPT'));
});

test('a log that ends before what was applied is refused, and so is an empty one [R52]', async () => {
  const stateMachine = new EchoStateMachine();
  await logOf(optionsFor({ stateMachine }));
  const elsewhere = join(folder, 'empty');
  await expect(startRaftNode(optionsFor({ stateMachine, folder: elsewhere }))).rejects.toEqual(
    coded('DATA_CORRUPT'),
  );
  await expect(startRaftNode(optionsFor({ folder: join(folder, 'none'), mustExist: true }))).rejects.toEqual(
    coded('DATA_CORRUPT'),
  );
});

test('what was applied before is not applied again [R37]', async () => {
  const stateMachine = new EchoStateMachine();
  await logOf(optionsFor({ stateMachine }));
  const node = await leading(optionsFor({ stateMachine }));
  await node.propose(Buffer.from('d'));
  expect(stateMachine.texts).toEqual(['a', 'b', 'c', 'd']);
  await node.stop();
});

test('a state that failed before this member started ends it in an orderly way', async () => {
  const failed = new Error('the state could not be written');
  class FailedStateMachine extends EchoStateMachine {
    whenFailed(listener: (error: unknown) => void): void {
      listener(failed);
    }
  }
  const errors: unknown[] = [];
  const onFatal = (error: unknown): number => errors.push(error);
  const options = optionsFor({ stateMachine: new FailedStateMachine(), onFatal });
  const disk = new MemoryDisk();
  const place = { clusterId: CLUSTER, memberId: options.memberId, folder, mustExist: false, sync: true };
  const store = await openLogStore(disk.open(), disk.openWitness(), place);
  const node = await startOnStore(store, options, { seed: 1, laterTurn: (run) => void setImmediate(run) });
  expect(errors).toEqual([failed]);
  await expect(node.propose(Buffer.from('a'))).rejects.toMatchObject({ code: 'STOPPING' });
});

test('a member that cannot be made closes its log', async () => {
  const onFrame = (): void => {
    throw new Error('no transport');
  };
  const { transport } = optionsFor();
  const refused = startRaftNode(optionsFor({ transport: { ...transport, onFrame } }));
  await expect(refused).rejects.toThrow('no transport');
  await logOf(optionsFor());
});

describe('a state that does not reach the beginning of its log', () => {
  const members = [1, 2].map((id) => ({ id: memberId(id), peerAddress: '', clientAddress: '' }));
  const founded = async (size: number): Promise<Partial<RaftOptions>> => {
    const initialMembers = members.slice(0, size);
    const place = { clusterId: CLUSTER, memberId: memberId(1), folder: join(folder, 'log') };
    const base = { index: logIndex(5), term: term(1) };
    await foundRaftFolder({ ...place, members: initialMembers, term: term(1), base, entries: [] });
    return { initialMembers, stateMachine: new TextsState(new StateDisk()), mustExist: true };
  };

  test('is refused where no other voter could have it', async () => {
    const options = optionsFor(await founded(1));
    await expect(startRaftNode(options)).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
      next: expect.stringContaining('restore a backup'),
    });
  });

  test('is refused if it is an older one, and says what to do', async () => {
    const options = await founded(2);
    const stateMachine = new TextsState(new StateDisk());
    await stateMachine.apply([{ index: logIndex(1), term: term(1), data: Buffer.from('a') }]);
    await expect(startRaftNode(optionsFor({ ...options, stateMachine }))).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
      next: expect.stringContaining('empty its state folder'),
    });
  });

  test('is waited for if it is empty: this member follows', async () => {
    const node = await startRaftNode(optionsFor(await founded(2)));
    expect(node.status()).toMatchObject({ role: 'follower', commitIndex: 5, appliedIndex: 0 });
    await expect(node.readIndex()).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await node.stop();
  });
});

import { afterEach, expect, it } from 'vitest';
import { ScriptedCoordinator } from '../client/scripted-coordinator.ts';
import { runCli } from './run-cli.ts';

let coordinator: ScriptedCoordinator | undefined;
afterEach(() => coordinator?.stop());

it('says which member is sent snapshot after snapshot and never catches up', async () => {
  const leader = await ScriptedCoordinator.start();
  coordinator = leader;
  const { address } = leader;
  const behind = {
    memberId: 2n,
    clientAddress: address,
    role: 'voter',
    replication: 'snapshot',
    snapshots: 4,
  };
  const away = { ...behind, memberId: 3n, snapshots: 2 };
  leader.answer = () => ({
    reply: {
      clusterId: 'c',
      memberId: 1n,
      role: 'leader',
      members: [{ memberId: 1n, clientAddress: address }, behind, away],
    },
  });
  const { stdout, stderr } = await runCli(['cluster', 'members', '--endpoints', address]);
  expect(stderr).toBe('');
  expect(stdout).toContain('member 2 was sent 4 snapshots in a row and never caught up');
  expect(stdout).not.toContain('member 3 was sent');
});

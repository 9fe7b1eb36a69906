import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TidemarkError, must } from '../../src/base/index.ts';
import { startCoordinator, type CoordinatorOptions } from '../../src/coordinator/index.ts';
import { createLogger } from '../../src/ops/index.ts';
import { insecureCredentials } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { TestCluster } from './cluster-harness.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.formed(1);
});

afterAll(async () => {
  await cluster.stop();
});

let folders = 0;

/** Each start has a folder of its own, unless the test names one. */
const options = (over: Partial<CoordinatorOptions>): CoordinatorOptions => ({
  dataFolder: `${cluster.folder}/other-${(folders += 1)}`,
  peer: { listen: '127.0.0.1:0' },
  client: { listen: '127.0.0.1:0' },
  credentials: insecureCredentials(),
  log: createLogger({ role: 'other', level: 'silent' }),
  version: 'test',
  onFatal: (error) => {
    throw error;
  },
  ...over,
});

const refusal = async (over: Partial<CoordinatorOptions>): Promise<TidemarkError> => {
  const error: unknown = await startCoordinator(options(over)).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(TidemarkError);
  return error as TidemarkError;
};

describe('starting a coordinator is refused', () => {
  test('on a folder that another process uses: DATA_IN_USE', async () => {
    const slot = must(cluster.slots[0], 'slot');
    expect(await refusal({ dataFolder: slot.dataFolder })).toMatchObject({ code: 'DATA_IN_USE' });
  });

  test('on the folder of another member: DATA_OF_OTHER_CLUSTER, with its cluster and addresses', async () => {
    const slot = must(cluster.slots[0], 'slot');
    const { clusterId } = cluster.at(0).status();
    await cluster.stopOne(0);
    const error = await refusal({ dataFolder: slot.dataFolder });
    expect(error.code).toBe('DATA_OF_OTHER_CLUSTER');
    expect(error.message).toContain(clusterId);
    expect(error.message).toContain(slot.peerAddress);
    // Nothing was changed: the member itself still starts there.
    await cluster.startOne(0);
    await cluster.leader();
  });

  test.each(['peer', 'client', 'http'] as const)('on a %s port that is taken: PORT_IN_USE', async (what) => {
    const taken = { listen: cluster.at(0).clientAddress };
    const error = await refusal({ [what]: taken });
    expect(error.code).toBe('PORT_IN_USE');
    expect(error.message).toContain(taken.listen);
    expect(error.message).toContain(what);
  });

  test.each(['7400', '127.0.0.1', 'a b:1', '[::1:80', 'host:99999'])(
    'on the address %s: CONFIG_INVALID',
    async (listen) => {
      expect(await refusal({ peer: { listen } })).toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('on every interface without saying how it is reached: CONFIG_INVALID', async () => {
    expect(await refusal({ client: { listen: '0.0.0.0:0' } })).toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('and then neither the folder nor a port stays taken', async () => {
    const dataFolder = `${cluster.folder}/refused`;
    await refusal({ dataFolder, http: { listen: cluster.at(0).clientAddress } });
    const started = await startCoordinator(options({ dataFolder }));
    await started.stop();
  });
});

describe('names and IPv6', () => {
  test('a coordinator listens on a name and advertises it', async () => {
    const started = await startCoordinator(options({ client: { listen: 'localhost:0' } }));
    expect(started.clientAddress).toMatch(/^localhost:\d+$/);
    await started.stop();
  });

  test('an IPv6 address is advertised in brackets, and dialled so', async () => {
    const listen = { listen: '[::1]:0' };
    const started = await startCoordinator(options({ peer: listen, client: listen }));
    expect(started.clientAddress).toMatch(/^\[::1\]:\d+$/);
    const client = cluster.client({ endpoints: [started.clientAddress] });
    expect(await client.init([started.clientAddress])).toMatchObject({ members: [{ memberId: 1n }] });
    await started.stop();
  });
});

describe('health and metrics', () => {
  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://${must(cluster.at(0).httpAddress, 'http')}${path}`);
    return { status: response.status, text: await response.text() };
  };

  test('a member that leads is live and ready, check by check', async () => {
    expect(await get('/livez')).toEqual({ status: 200, text: 'ok\n' });
    const ready = await eventually(
      async () => {
        const answer = await get('/readyz?verbose');
        return answer.status === 200 && answer;
      },
      { withinMs: 5_000, what: 'a leader that has proved itself' },
    );
    expect(ready.text).toBe('[+]cluster ok\n[+]raft ok\n[+]apply ok\nok\n');
  });

  test('the metrics tell role, term, log and event loop', async () => {
    const { text } = await get('/metrics');
    expect(text).toContain('tidemark_raft_role{raft_role="leader",role="coordinator"} 1');
    expect(text).toMatch(/tidemark_raft_commit_index\{[^}]*\} [1-9]/);
    expect(text).toContain('tidemark_event_loop_delay_seconds{quantile="0.99"');
    expect(text).toContain('tidemark_scheduler_total{event="grants"');
  });

  test('a coordinator that waits for init is live, not ready, and says why', async () => {
    const started = await startCoordinator(options({ http: { listen: '127.0.0.1:0' } }));
    const base = `http://${must(started.httpAddress, 'http')}`;
    expect((await fetch(`${base}/livez`)).status).toBe(200);
    const ready = await fetch(`${base}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('[-]cluster waiting for cluster init');
    await started.stop();
  });
});

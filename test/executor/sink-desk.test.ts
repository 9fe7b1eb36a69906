/** What an executor does for a report database as a whole, where that has several servers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { Catalog } from '../../src/executor/catalog.ts';
import { Databases } from '../../src/executor/databases.ts';
import { LeaderQuestions } from '../../src/executor/leader-questions.ts';
import type { Outgoing } from '../../src/executor/session/outbox.ts';
import { SinkDesk } from '../../src/executor/sink-desk.ts';
import { JOB_FORMAT } from '../../src/job/index.ts';
import { freshDatabase, mariadbMissing, type FreshDatabase } from '../support/mariadb.ts';

const silent = { info: () => undefined, warn: () => undefined };
const CLUSTER = 'c'.repeat(32);
const EPOCH = 40_000n << 40n;

describe.skipIf(mariadbMissing())('a report database whose first server is gone', () => {
  let database: FreshDatabase;
  let databases: Databases;
  beforeAll(async () => {
    database = await freshDatabase('desk');
    // Nobody listens at port 1.
    const env = { GONE: 'mysql://nobody:nothing@127.0.0.1:1/reports', LIVE: database.url };
    databases = new Databases({ env, baseFolder: '.' }, { clock: systemClock, log: silent });
  });
  afterAll(async () => {
    await databases.close();
    await database.drop();
  });

  it('is put under its epoch, and probed, where it takes writes now', async () => {
    const catalog = new Catalog();
    const [gone, live] = ['GONE', 'LIVE'].map((env) => ({ mysql: { url: { env } } }));
    const sink = { format: JOB_FORMAT, name: 'reports', engine: 'mysql', database: gone, replicas: [live] };
    catalog.put([{ id: 'sink/1', json: JSON.stringify(sink) }]);
    const sent: Outgoing[] = [];
    const send = (body: Outgoing): void => {
      sent.push(body);
      const answer = { errorCode: '', errorMessage: '' };
      queueMicrotask(() => {
        if (body.$case === 'knownTasks') {
          questions.onAnswer({ request: body.value.request, tasks: [], nextWindow: 0n, ...answer });
        } else if (body.$case === 'sinkFound') {
          questions.onAnswer({ request: body.value.request, ...answer });
        }
      });
    };
    const questions = new LeaderQuestions(systemClock, send);
    const desk = new SinkDesk({ catalog, databases, questions, log: silent, send });
    const known = { sinkId: 1n, clusterId: CLUSTER, formerIds: [], generations: [] };
    await desk.reconcile({ known, epoch: EPOCH, leaderTerm: 1n });
    expect(sent.map(({ $case }) => $case)).toEqual(['knownTasks', 'sinkFound']);
    const order = { sinkId: 1n, clusterId: CLUSTER, leaderTerm: 1n, generations: [], tasks: [] };
    await desk.probe({ ...order, epoch: EPOCH });
    expect(sent).toHaveLength(2);
    // A probe that finds another epoch says so: it looked at the server that has one.
    await desk.probe({ ...order, epoch: EPOCH + 1n });
    expect(sent[2]).toMatchObject({ $case: 'sinkProbed', value: { errorCode: 'SINK_EPOCH' } });
  });
});

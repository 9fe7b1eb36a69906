import { describe, expect, it } from 'vitest';
import { Run } from '../../src/executor/run.ts';
import { repeatable } from '../../src/executor/sink/transaction.ts';
import { openEngine, type SqlConnection } from '../../src/sql/index.ts';
import type { SealedWindow } from '../../src/wire/index.ts';
import { eventually } from '../support/eventually.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';
import { silentProxyOf } from '../support/silent-proxy.ts';
import { codeOf } from '../sql/engine-contract.ts';
import { contextOf } from './merge-fixture.ts';
import { taskOf } from './shop.ts';

const newRun = (): Run => new Run(taskOf({ window: 1n } as SealedWindow, 1));

describe.skipIf(mariadbMissing())('a cancelled run', () => {
  it('gives its slot back although the server does not answer any more', async () => {
    const database = await freshDatabase('run');
    const proxy = await silentProxyOf(database.url);
    const engine = openEngine({ kind: 'mysql', url: proxy.url }, { connectMs: 500 });
    const run = newRun();
    const context = {
      ...contextOf(engine),
      track: (connection: SqlConnection) => run.track(engine, connection),
      cancelled: () => run.cancelled,
    };
    let started = false;
    let ended = '';
    const work = codeOf(
      repeatable(context, 'test', (connection) => {
        proxy.fallSilent();
        started = true;
        return connection.query('SELECT 1');
      }),
    ).then((code) => (ended = code));
    await eventually(() => started, { withinMs: 5_000 });
    const failures: string[] = [];
    const cancelled = run.cancel('test', (error) => failures.push(error.code));
    await eventually(() => ended !== '', { withinMs: 3_000, what: 'the end of the transaction' });
    await Promise.all([work, cancelled]);
    // The server could not be asked to kill what it may still show.
    expect([ended, failures]).toEqual(['DB_UNREACHABLE', ['DB_UNREACHABLE']]);
    await engine.close();
    await proxy.close();
    await database.drop();
  });
});

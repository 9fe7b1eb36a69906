/** A host that loses its power closes no connection: the collector has to end by itself. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '../../src/base/index.ts';
import { openEngine, type SqlEngine } from '../../src/sql/index.ts';
import { eventually } from '../support/eventually.ts';
import { mariadbMissing } from '../support/mariadb.ts';
import { silentProxyOf } from '../support/silent-proxy.ts';
import { SealLog, compile, openFixture, startCollector, type Fixture } from './fixtures.ts';

/** Timers ten times as fast; the time between two events of the binlog stays as it is. */
const hurried: Clock = { ...systemClock, after: (delayMs, run) => systemClock.after(delayMs / 10, run) };

describe.skipIf(mariadbMissing())('collector and a silent server', () => {
  let fixture: Fixture;
  const cleanUp: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    fixture = await openFixture('mysql');
    await fixture.exec(`CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY)`);
  });

  afterEach(async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
    await fixture.close();
  });

  const throughProxy = async (
    address: Fixture['address'],
  ): Promise<{ address: Fixture['address']; engine: SqlEngine; fallSilent: () => void }> => {
    const proxy = await silentProxyOf((address as { url: string }).url);
    const engine = openEngine({ kind: 'mysql', url: proxy.url }, { connectMs: 1_000 });
    cleanUp.push(
      () => proxy.close(),
      () => engine.close(),
    );
    return { address: { kind: 'mysql', url: proxy.url }, engine, fallSilent: () => proxy.fallSilent() };
  };

  /** Collects over `reached` until a window is sealed; then `silence` strikes, and the collector must end. */
  const endOf = async (reached: Fixture, silence: () => void): Promise<unknown> => {
    const source = await compile(fixture, ['item']);
    const log = new SealLog();
    const collector = startCollector(reached, source, log, { clock: hurried });
    let end: unknown;
    collector.ended.catch((error: unknown) => {
      end = error;
    });
    await fixture.exec(`INSERT INTO item VALUES (1)`);
    await eventually(() => log.windows.length >= 3, { withinMs: 15_000, what: 'sealed windows' });
    silence();
    await fixture.exec(`INSERT INTO item VALUES (2)`);
    await eventually(() => end !== undefined, { withinMs: 15_000, what: 'the collector ends' });
    return end;
  };

  it('ends with DB_UNREACHABLE when the source falls silent', async () => {
    const { engine, address, fallSilent } = await throughProxy(fixture.address);
    expect(await endOf({ ...fixture, source: engine, address }, fallSilent)).toMatchObject({
      code: 'DB_UNREACHABLE',
      message: expect.stringContaining('did not answer') as string,
    });
  });

  it('ends when the store falls silent', async () => {
    const { engine, fallSilent } = await throughProxy(fixture.storeAddress);
    const end = await endOf({ ...fixture, stores: [engine] }, fallSilent);
    expect(['DB_UNREACHABLE', 'DB_OUTCOME_UNKNOWN']).toContain((end as { code: unknown }).code);
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../src/base/index.ts';
import { GroupEngine, mysqlDialect, type SqlConnection } from '../../../src/sql/index.ts';
import { VirtualClock } from '../../scheduler/support/virtual-clock.ts';
import { rule } from '../../support/rule.ts';
import { ScriptedServer } from './scripted-server.ts';

const open: GroupEngine[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((group) => group.close()));
});

interface Scene {
  readonly a: ScriptedServer;
  readonly b: ScriptedServer;
  readonly clock: VirtualClock;
  readonly group: GroupEngine;
  readonly said: string[];
  /** Where work of each kind goes, or the code of the refusal. */
  where(way: 'use' | 'read'): Promise<string>;
}

/** `a` is the primary, `b` its replica. */
function scene(): Scene {
  const a = new ScriptedServer('a', true);
  const b = new ScriptedServer('b', false);
  const clock = new VirtualClock();
  const said: string[] = [];
  const note = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    said.push(`${message} ${String(fields['code'] ?? fields['primary'])}`);
  };
  const log = { info: note, warn: note };
  const group = new GroupEngine(mysqlDialect, [a, b], { clock, log });
  open.push(group);
  const where = async (way: 'use' | 'read'): Promise<string> => {
    try {
      return await group[way]('test', serverOf);
    } catch (error) {
      if (error instanceof TidemarkError) return error.code;
      throw error;
    }
  };
  return { a, b, clock, group, said, where };
}

async function serverOf(connection: SqlConnection): Promise<string> {
  const { rows } = await connection.query('SELECT @@server');
  return String(rows[0]?.[0]);
}

const missingOn = (label: string) => async (connection: SqlConnection) => {
  const server = await serverOf(connection);
  if (server === label) throw new TidemarkError('WINDOW_INCOMPLETE', `not on ${label}`);
  return server;
};

describe('a group of servers', () => {
  it('writes on the primary and reads on the replica', async () => {
    const { where } = scene();
    expect([await where('use'), await where('read')]).toEqual(['a', 'b']);
  });

  it('reads where the window is: replicas, then the primary, whose word counts', async () => {
    const { group } = scene();
    await expect(group.read('test', missingOn('b'))).resolves.toBe('a');
    const nowhere = group.read('test', async (connection) => {
      throw new TidemarkError('WINDOW_INCOMPLETE', `not on ${await serverOf(connection)}`);
    });
    await expect(nowhere).rejects.toMatchObject({ code: 'WINDOW_INCOMPLETE', message: 'not on a' });
  });

  it('never says that a window is missing without the word of the primary', async () => {
    const { a, group } = scene();
    a.up = false;
    await expect(group.read('test', missingOn('b'))).rejects.toMatchObject({ code: 'DB_UNREACHABLE' });
  });

  it('does not try work elsewhere that fails by itself', async () => {
    const { group } = scene();
    const bad = group.read('test', async (connection) => {
      throw new TidemarkError('SQL_INVALID', await serverOf(connection));
    });
    await expect(bad).rejects.toMatchObject({ code: 'SQL_INVALID', message: 'b' });
  });

  rule('sql.takerFailureIsTheServers', 'does not run a SELECT again whose rows nobody can take', async () => {
    const { group } = scene();
    const asked: string[] = [];
    const untaken = group.read('test', async (connection) => {
      asked.push(await serverOf(connection));
      await connection.stream('SELECT @@server', [], { pieceRows: 1 }, () =>
        Promise.reject(new TidemarkError('DB_UNREACHABLE', 'the report database')),
      );
    });
    await expect(untaken).rejects.toMatchObject({ code: 'DB_UNREACHABLE', message: 'the report database' });
    expect(asked).toEqual(['b']);
  });

  rule('sql.laggingReplicaFirst', 'asks a replica that lags only after the primary', async () => {
    const { b, where, clock } = scene();
    b.lagSeconds = 30n;
    expect(await where('read')).toBe('a');
    b.lagSeconds = null;
    await clock.advance(2_100);
    expect(await where('read')).toBe('a');
    b.lagSeconds = 1n;
    await clock.advance(2_100);
    expect(await where('read')).toBe('b');
  });

  it('reads on a lagging replica rather than not at all', async () => {
    const { a, b, where } = scene();
    b.lagSeconds = 30n;
    a.up = false;
    expect(await where('read')).toBe('b');
  });

  rule('sql.unorderedReplicaIsRead', 'uses a replica that does not commit in order for nothing', async () => {
    const { b, group, said, where } = scene();
    b.version = '8.0.36';
    expect(await where('read')).toBe('a');
    expect(group.states()[1]?.role).toBe('unordered');
    expect(said).toContain('a replica is used for nothing REPLICA_UNORDERED');
  });

  it.each([
    [1n, 0n],
    [4n, 1n],
  ] as const)('reads on a MySQL replica with %i workers and preserve_commit_order %i', async (...order) => {
    const { b, where } = scene();
    b.version = '8.0.36';
    b.order = order;
    expect(await where('read')).toBe('b');
  });
});

describe('the primary of a group', () => {
  it('is followed when another server is promoted, within two seconds', async () => {
    const { a, b, clock, where } = scene();
    expect(await where('use')).toBe('a');
    a.writable = false;
    b.writable = true;
    await clock.advance(2_100);
    expect([await where('use'), await where('read')]).toEqual(['b', 'a']);
  });

  rule('sql.lostConnectionIsNoQuestion', 'is asked for at once when it refuses a write', async () => {
    const { a, b, clock, group, where } = scene();
    await group.use('test', (connection) => connection.commit());
    a.writable = false;
    b.writable = true;
    const write = group.use('test', (connection) => connection.commit());
    await expect(write).rejects.toMatchObject({ code: 'DB_READ_ONLY' });
    await clock.advance(10);
    expect(await where('use')).toBe('b');
  });

  rule(
    'sql.firstWritableIsPrimary',
    'is the one that was promoted, while the former still answers',
    async () => {
      const { b, clock, where } = scene();
      expect(await where('use')).toBe('a');
      b.writable = true;
      await clock.advance(2_100);
      expect(await where('use')).toBe('b');
    },
  );

  it('is nobody when two take writes and nothing tells them apart', async () => {
    const { b, clock, where } = scene();
    b.writable = true;
    expect([await where('use'), await where('read')]).toEqual(['PRIMARY_AMBIGUOUS', 'PRIMARY_AMBIGUOUS']);
    b.writable = false;
    await clock.advance(2_100);
    expect(await where('use')).toBe('a');
  });

  rule('sql.formerPrimaryKeepsWriters', 'loses the connections that write when it is replaced', async () => {
    const { a, b, clock, group } = scene();
    const connection = await group.connect({ purpose: 'collector' });
    b.writable = true;
    await clock.advance(2_100);
    expect(a.connections[0]?.dropped).toBe(true);
    await expect(connection.query('SELECT 1')).rejects.toMatchObject({ code: 'DB_UNREACHABLE' });
  });

  it('may come back after a while: a group without one is asked as often as it is used', async () => {
    const { a, clock, where } = scene();
    a.up = false;
    for (let tries = 0; tries < 5; tries += 1) {
      expect(await where('use')).toBe('DB_UNREACHABLE');
      await clock.advance(200);
    }
    a.up = true;
    expect(await where('use')).toBe('a');
  });
});

describe('a server that fails', () => {
  it('is left alone after three errors, and what hangs on it is dropped', async () => {
    const { b, clock, group, where } = scene();
    expect(await where('read')).toBe('b');
    const stuck = group.read('test', (connection) => {
      b.hangs = true;
      return serverOf(connection);
    });
    await clock.advance(8_000);
    expect(group.states()[1]?.breaker).toBe('open');
    await expect(stuck).resolves.toBe('a');
    const { questions } = b;
    await clock.advance(10_000);
    expect(b.questions).toBe(questions);
  });

  rule('sql.breakerStaysOpen', 'is asked again after 15 s, and used when it answers', async () => {
    const { b, clock, where } = scene();
    b.up = false;
    for (let s = 0; s < 8; s += 1) {
      expect(await where('read')).toBe('a');
      await clock.advance(1_000);
    }
    b.up = true;
    await clock.advance(1_000);
    expect(await where('read')).toBe('a');
    await where('read');
    for (let s = 0; s < 18; s += 1) {
      await where('read');
      await clock.advance(1_000);
    }
    expect(await where('read')).toBe('b');
  });

  it('is not blamed for connections that were killed on purpose', async () => {
    const { b, clock, group, where } = scene();
    for (let kills = 0; kills < 5; kills += 1) {
      await group.read('test', (connection) => {
        if (b.connections.at(-1)?.dropped === false) b.connections.at(-1)?.destroy();
        return serverOf(connection);
      });
      await clock.advance(10);
    }
    expect(group.states()[1]?.breaker).toBe('closed');
    expect(await where('read')).toBe('b');
  });
});

it('kills a connection at the server that has it', async () => {
  const { a, b, group } = scene();
  const ids: string[] = [];
  const note = (connection: SqlConnection): Promise<void> => Promise.resolve(void ids.push(connection.id));
  await group.use('test', note);
  await group.read('test', note);
  for (const id of ids) await group.kill(id);
  expect([a.killed, b.killed]).toEqual([['1'], ['1']]);
  await expect(group.kill('7')).rejects.toMatchObject({ code: 'DB_FAILED' });
});

it('asks nobody while nobody uses it', async () => {
  const { a, clock, where } = scene();
  await where('use');
  await clock.advance(60_000);
  const { questions } = a;
  await clock.advance(60_000);
  expect(a.questions).toBe(questions);
  expect(questions).toBeLessThan(10);
});

/** A fencing token is a 64-bit integer in every place that it passes, none of which may round it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  TERM_MAX,
  TOKEN_MAX,
  asToken,
  encode,
  decode,
  makeToken,
  parseToken,
  term,
} from '../../src/base/index.ts';
import { createOutput, toJson } from '../../src/cli/output.ts';
import { listTasks } from '../../src/coordinator/clients/list-tasks.ts';
import { listSources, listWindows } from '../../src/coordinator/clients/lists.ts';
import { foldAndSweep } from '../executor/fold-and-sweep.ts';
import { mergeContribution } from '../../src/executor/sink/merge.ts';
import { advanceStates } from '../../src/executor/states/index.ts';
import { openEngine, type SqlEngine, type SqlValue } from '../../src/sql/index.ts';
import * as clientMessages from '../../src/wire/tidemark/v1/client.ts';
import * as executorMessages from '../../src/wire/tidemark/v1/executor.ts';
import { AdvanceStates, DropHistory, FoldReport, Task, TaskInfo } from '../../src/wire/index.ts';
import { contributionOf, makeSink, registerSource } from '../executor/merge-fixture.ts';
import { EPOCH, makeShard, seal, SOURCE, sourceOf, writeWindow } from '../executor/states/store-shard.ts';
import { runningWorld } from '../statemachine/support/world.ts';
import { freshDatabase, mariadbMissing } from '../support/mariadb.ts';

/** Each is rounded by a JavaScript number. */
const TOKENS = [2n ** 53n + 1n, makeToken({ term: term(2 ** 23 - 1), n: 2 ** 40 - 1 }), TOKEN_MAX];

describe('tokens above 2^53', () => {
  test.each(TOKENS)('%s stays exact on the wire, in every 64-bit field of every message', (token) => {
    let fields = 0;
    for (const message of [...messagesOf(executorMessages), ...messagesOf(clientMessages)]) {
      const full: Record<string, bigint> = {};
      for (const [name, value] of Object.entries(message.create({}))) {
        if (typeof value === 'bigint') full[name] = token;
      }
      fields += Object.keys(full).length;
      expect(message.decode(message.encode(message.create(full)).finish())).toMatchObject(full);
      expect(
        message.fromJSON(JSON.parse(JSON.stringify(message.toJSON(message.create(full))))),
      ).toMatchObject(full);
    }
    expect(fields).toBeGreaterThan(100);
    for (const message of [Task, AdvanceStates, FoldReport, DropHistory]) {
      const sent = message.create({ superseded: [token, token - 1n] });
      expect(message.decode(message.encode(sent as never).finish())).toEqual(sent);
    }
  });

  test.each(TOKENS)('%s is a decimal string in JSON and in the log, and comes back exact', (token) => {
    const json = JSON.stringify(TaskInfo.toJSON(TaskInfo.create({ token })));
    expect(json).toContain(`"${token}"`);
    expect(TaskInfo.fromJSON(JSON.parse(json))).toMatchObject({ token });
    const stored = decode(1, encode(1, { token: token.toString() }), 'a record') as {
      readonly token: string;
    };
    expect(parseToken(stored.token)).toBe(asToken(token));
  });

  test('are shown exactly by the command line, as JSON and as a table', () => {
    const world = runningWorld();
    world.term = TERM_MAX;
    world.accept({ v: 1, type: 'collector.grant', sourceId: 1, executorId: 1 });
    world.seal();
    const task = world.grant({ window: 1, executorId: 1 });
    const { epoch } = world.source().collector ?? { epoch: '' };
    expect(BigInt(Number(epoch))).not.toBe(BigInt(epoch));
    const shown = (rows: readonly { readonly token?: bigint; readonly epoch?: bigint }[]): string => {
      let text = '';
      const stream = { write: (part: string) => (text += part) };
      createOutput('table', stream, stream).rows('rows', rows, [
        { title: 'TOKEN', value: (row) => row.token ?? row.epoch ?? 0n },
      ]);
      return text + toJson(rows);
    };
    const view = world.state;
    expect(toJson(listSources(view))).toContain(`"collectorEpoch": "${epoch}"`);
    const windows = shown(listWindows(view, { source: '', limit: 9 }));
    expect(windows).toContain(`"epoch": "${epoch}"`);
    expect(windows).toContain(`TOKEN\n${epoch}`);
    const tasks = shown(listTasks(view, { state: '', limit: 9 }));
    expect(tasks).toContain(`"token": "${task.token}"`);
    expect(tasks).toContain(`TOKEN\n${task.token}`);
  });

  test('stay exact on the embedded engine', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-tokens-'));
    const engine = openEngine({ kind: 'embedded', file: join(folder, 'all.db') });
    try {
      await passesExactly(engine);
    } finally {
      await engine.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test.skipIf(mariadbMissing())('stay exact on MariaDB', async () => {
    const database = await freshDatabase('tokens');
    const engine = openEngine({ kind: 'mysql', url: database.url });
    try {
      await passesExactly(engine);
    } finally {
      await engine.close();
      await database.drop();
    }
  });
});

type AnyMessage = executorMessages.MessageFns<Record<string, bigint>>;

function messagesOf(module: Readonly<Record<string, unknown>>): AnyMessage[] {
  return Object.values(module).filter(
    (found): found is AnyMessage => typeof found === 'object' && found !== null && 'fromPartial' in found,
  );
}

const ITEMS = {
  table: 'items',
  schemaVersion: 1,
  columns: [{ name: 'id', type: 'BIGINT', nullable: false }],
  primaryKey: ['id'],
  shardKey: 'id',
};

/** Change rows, marks, row states, sink epoch, ledger, contributions and fold mark of one database. */
async function passesExactly(engine: SqlEngine): Promise<void> {
  const one = async (sql: string): Promise<SqlValue | undefined> =>
    (await engine.use('test', (connection) => connection.query(sql))).rows[0]?.[0];
  const [token] = TOKENS;
  const newer = asToken(TOKEN_MAX - 2n);
  const source = sourceOf([ITEMS]);
  await makeShard(engine, source);
  await writeWindow(engine, source, 1, [{ table: 'items', weight: 1n, row: [1n] }]);
  const advance = (under: bigint): Promise<unknown> =>
    advanceStates(engine, {
      sourceId: SOURCE,
      source,
      captured: () => ITEMS,
      shard: 'main',
      windows: [seal(source, 1, { main: 1 })],
      token: asToken(under),
      marker: 'test',
      formerChains: [],
      signal: new AbortController().signal,
    });
  await advance(newer);
  // The neighbour below is another token: a rounded one would equal it.
  await expect(advance(newer - 1n)).rejects.toMatchObject({
    code: 'STATE_FENCED',
    details: { standing: String(newer), granted: String(newer - 1n) },
  });
  expect(await one('SELECT _token FROM tm_state_mark')).toBe(newer);
  expect(await one(`SELECT _epoch FROM tm_change_${SOURCE}_items_v1`)).toBe(EPOCH);

  const sink = await makeSink(engine);
  const scope = { reportId: 7, generation: 1, sourceId: 1 };
  await registerSource(sink, scope, 'sales');
  const span = { ...scope, firstWindow: 1, lastWindow: 1, part: 0, parts: 1, coversMs: 1, position: '1' };
  const row = { name: 'a', amount: 1n, label: 'x', weight: 1n } as const;
  const merge = (under: bigint): Promise<unknown> =>
    mergeContribution(sink.context, {
      grant: sink.grant,
      layout: sink.layout,
      span,
      token: asToken(under),
      contribution: contributionOf(1, [row]),
    });
  expect(await merge(newer)).toMatchObject({ result: 'DONE', foundDone: false });
  expect(await merge(newer - 1n)).toEqual({ result: 'FENCED' });
  expect(await one('SELECT applied FROM tm_ledger')).toBe(newer);
  expect(await one('SELECT floor_token FROM tm_ledger')).toBe(newer);
  expect(await one('SELECT epoch FROM tm_sink')).toBe(sink.grant.epoch);
  const spanEnds = [{ window: 1, seal: asToken(token ?? 0n) }];
  await foldAndSweep(sink.context, { grant: sink.grant, layout: sink.layout, scope, spanEnds });
  expect(await one('SELECT folded_seal FROM tm_fold WHERE source_id = 1')).toBe(token);
}

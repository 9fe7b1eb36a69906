/** Makes random cases out of seeds: the same seed gives the same case. */
import { Random } from '../../support/random.ts';
import {
  COLUMNS,
  type Branch,
  type Condition,
  type Engine,
  type Expression,
  type Filter,
  type Input,
  type JoinCase,
  type Measure,
  type Operation,
  type Reference,
  type RowValues,
  type Schema,
  type TableShape,
  type Value,
} from './join-case.ts';

const TEXTS = ['a', 'A', 'a ', 'b', 'ß', ''];
const KINDS = ['count', 'sum', 'avg', 'variance', 'min', 'max', 'distinct'] as const;

/** Cases of one schema share its tables, which take longer to make than a case. */
export function schemaOf(seed: number, engine: Engine): Schema {
  const random = new Random(seed * 7919 + 1);
  const tables = Array.from({ length: 1 + random.below(4) }, (_none, at): TableShape => {
    const keys = random.pick([['id'], ['id'], ['id', 'sub'], ['s', 'id']] as const);
    const columns = random.shuffled([
      'id',
      ...(keys.includes('sub' as never) ? ['sub'] : []),
      ...COLUMNS,
    ] as const);
    return {
      name: `t${at}`,
      primaryKey: keys,
      shardKey: random.once(4) ? null : 'shop',
      columns: columns as TableShape['columns'],
    };
  });
  return { seed, engine, shards: 1 + random.below(2), tables };
}

export function generateCase(schema: Schema, seed: number): JoinCase {
  const random = new Random(seed * 104_729 + schema.seed);
  const inputs = inputsOf(schema, random);
  const windows = Array.from({ length: 2 + random.below(5) }, (_none, at) =>
    operationsOf(schema, random, at === 0 ? 14 : random.below(7)),
  );
  const first = branchOf(inputs, schema, random);
  const branches = random.once(4) ? [first, like(first, inputs, schema, random)] : [first];
  const begin = random.once(4) ? 1 + random.below(windows.length - 1) : 0;
  const rest = {
    conditions: conditionsOf(inputs, schema, random),
    form: random.pick(['join', 'comma', 'with'] as const),
    begin,
    spans: cuts(begin, windows.length, random),
    advances: cuts(0, windows.length, random),
  };
  const readsRows = inputs.filter(({ kind }) => kind !== 'dimension').map(({ kind }) => kind);
  const beside = String(readsRows) === 'changes' ? branchOf(inputs, schema, random) : undefined;
  return { seed, schema, windows, inputs, branches, ...rest, beside };
}

/** Last windows of adjacent ranges from `after + 1` to `last`. */
function cuts(after: number, last: number, random: Random): number[] {
  const found: number[] = [];
  for (let window = after + 1; window < last; window += 1) if (random.once(2)) found.push(window);
  return after < last ? [...found, last] : found;
}

function inputsOf(schema: Schema, random: Random): Input[] {
  const inputs = Array.from({ length: 1 + random.below(4) }, (_none, at): Input => {
    const { name } = random.pick(schema.tables);
    const kind = at > 0 && random.once(6) ? random.pick(['state', 'dimension'] as const) : 'changes';
    return { alias: `i${at}`, kind, table: kind === 'dimension' ? 'd' : name };
  });
  return random.shuffled(inputs);
}

/** Every input is joined to one before it; what lies on several shards, by the shard key. */
function conditionsOf(inputs: readonly Input[], schema: Schema, random: Random): Condition[] {
  const sharded = inputs.filter(({ table }) => shapeOf(schema, table)?.shardKey === 'shop');
  return inputs.flatMap((input, at) => {
    const conditions: Condition[] = [];
    const [leader] = sharded;
    if (leader !== undefined && leader !== input && sharded.includes(input)) {
      conditions.push(equal(leader, 'shop', input, 'shop'));
    }
    const before = inputs.slice(0, at);
    if (before.length > 0 && (conditions.length === 0 || random.once(3))) {
      const [left, right] = random.pick([
        ['ref', 'id'],
        ['n', 'n'],
        ['shop', 'ref'],
        ['ref', 'ref'],
      ] as const);
      conditions.push(equal(random.pick(before), left, input, right));
    }
    return conditions;
  });
}

function equal(
  left: Input,
  column: Reference['column'],
  right: Input,
  other: Reference['column'],
): Condition {
  return { left: { alias: left.alias, column }, right: { alias: right.alias, column: other } };
}

function shapeOf(schema: Schema, table: string): TableShape | undefined {
  return schema.tables.find(({ name }) => name === table);
}

function branchOf(inputs: readonly Input[], schema: Schema, random: Random): Branch {
  const keys = Array.from({ length: 1 + random.below(2) }, () => keyOf(inputs, random));
  const measures = Array.from({ length: 1 + random.below(3) }, () => measureOf(inputs, schema, random));
  return { keys, measures, filter: filterOf(inputs, random) };
}

/** Another branch with keys and measures of the same types. */
function like(first: Branch, inputs: readonly Input[], schema: Schema, random: Random): Branch {
  return {
    keys: first.keys.map(({ type }) => sameType(type, () => keyOf(inputs, random))),
    measures: first.measures.map(({ kind, value }) => ({
      kind,
      value: sameType(value.type, () => valueOf(kind, inputs, schema, random)),
    })),
    filter: filterOf(inputs, random),
  };
}

function sameType(type: Expression['type'], make: () => Expression): Expression {
  for (;;) {
    const made = make();
    if (made.type === type) return made;
  }
}

function keyOf(inputs: readonly Input[], random: Random): Expression {
  const text = random.once(3);
  const at: Reference = {
    alias: random.pick(inputs).alias,
    column: text ? 's' : random.pick(['shop', 'n', 'id']),
  };
  return { op: 'coalesce', left: at, right: at, type: text ? 'TEXT(8)' : 'BIGINT' };
}

function measureOf(inputs: readonly Input[], schema: Schema, random: Random): Measure {
  const kind = random.pick(KINDS);
  return { kind, value: valueOf(kind, inputs, schema, random) };
}

function valueOf(
  kind: Measure['kind'],
  inputs: readonly Input[],
  schema: Schema,
  random: Random,
): Expression {
  const reference = (column: Reference['column']): Reference => ({
    alias: random.pick(inputs).alias,
    column,
  });
  const additive = kind === 'sum' || kind === 'avg' || kind === 'variance';
  const choice = random.below(additive || kind === 'count' ? 4 : 5);
  if (choice === 4) return { op: 'column', left: reference('s'), right: reference('s'), type: 'TEXT(8)' };
  const decimal = schema.engine === 'mysql' && kind !== 'count' && random.once(2);
  const column = decimal ? 'v' : 'n';
  const type = decimal ? 'DECIMAL(8,2)' : 'BIGINT';
  const op = (['column', 'column', 'add', decimal ? 'add' : 'times'] as const)[choice] ?? 'column';
  return { op, left: reference(column), right: reference(column), type };
}

function filterOf(inputs: readonly Input[], random: Random): Filter | undefined {
  if (!random.once(3)) return undefined;
  const at: Reference = { alias: random.pick(inputs).alias, column: random.pick(['n', 'ref', 'shop']) };
  return { at, op: random.pick(['>', '<>', 'is not null'] as const), value: BigInt(random.below(3)) };
}

function operationsOf(schema: Schema, random: Random, count: number): Operation[] {
  return Array.from({ length: count }, (): Operation => {
    const shape = random.pick(schema.tables);
    const table = shape.name;
    const kind = random.pick(['insert', 'insert', 'update', 'update', 'delete'] as const);
    const pick = random.below(1_000);
    if (kind === 'delete') return { kind, table, pick };
    const row = rowOf(shape, schema.engine, random);
    return kind === 'insert' ? { kind, table, row } : { kind, table, pick, row };
  });
}

export function rowOf(
  shape: Pick<TableShape, 'columns' | 'primaryKey'>,
  engine: Engine,
  random: Random,
): RowValues {
  return shape.columns.map((column): Value => {
    switch (column) {
      case 'id':
        return BigInt(1 + random.below(5));
      case 'sub':
      case 'shop':
        return BigInt(random.below(3));
      case 'ref':
      case 'n':
        return random.once(5) ? null : BigInt(random.below(4) - (column === 'n' ? 1 : 0));
      case 'v':
        if (random.once(5)) return null;
        if (engine === 'embedded') return BigInt(random.below(500));
        return `${random.below(40) - 10}.${String(random.below(100)).padStart(2, '0')}`.replace(
          '-0.00',
          '0.00',
        );
      case 's':
        return !shape.primaryKey.includes('s') && random.once(5) ? null : random.pick(TEXTS);
    }
  });
}

/**
 * What a case's report must show, recomputed from scratch by plain SQL over copies of the base tables:
 * written apart from the product, without weights, windows, row states and common table expressions.
 *
 * The copies hold the tables as of several moments, told apart by `moment`.
 */
import type { SqlEngine, SqlValue } from '../../../src/sql/index.ts';
import type { Branch, Expression, JoinCase, Reference } from './join-case.ts';
import { addTo, exact, type Amounts } from './amounts.ts';

/** By moment: what a report from scratch adds up to. */
export type Recomputed = ReadonlyMap<number, Amounts>;

/**
 * Recomputes at every moment. `ahead` is how many moments the tables of state inputs are ahead of the others.
 */
export async function recompute(engine: SqlEngine, one: JoinCase, ahead: number): Promise<Recomputed> {
  const found = new Map<number, Amounts>();
  const at = (moment: SqlValue | undefined): Amounts => {
    const number = Number(moment);
    const known = found.get(number) ?? new Map<string, bigint[]>();
    found.set(number, known);
    return known;
  };
  const query = async (sql: string): Promise<readonly (readonly SqlValue[])[]> =>
    (await engine.use('recompute', (connection) => connection.query(sql))).rows;
  for (const branch of one.branches) {
    const keys = branch.keys.length;
    for (const row of await query(sumsSql(one, branch, ahead))) {
      const key = row
        .slice(1, 1 + keys)
        .map(String)
        .join('|');
      addTo(at(row[0]), `sums ${key}`, row.slice(1 + keys).map(exact), 1n);
    }
    for (const [index, { kind, value }] of branch.measures.entries()) {
      if (kind !== 'min' && kind !== 'max' && kind !== 'distinct') continue;
      for (const row of await query(membersSql(one, branch, value, ahead))) {
        const member = row
          .slice(1, 2 + keys)
          .map(text)
          .join('|');
        addTo(at(row[0]), `members ${index} ${member}`, [exact(row[2 + keys] ?? null)], 1n);
      }
    }
  }
  return found;
}

const text = (value: SqlValue): string =>
  typeof value === 'string' && /^-?\d+\.\d+$/.test(value) ? String(exact(value)) : String(value);

function sumsSql(one: JoinCase, branch: Branch, ahead: number): string {
  const sums = branch.measures.flatMap(({ kind }, at) => {
    const x = `m${at}`;
    if (kind === 'count') return [`COUNT(${x})`];
    if (kind === 'sum' || kind === 'avg') return [`COALESCE(SUM(${x}), 0)`, `COUNT(${x})`];
    if (kind === 'variance')
      return [`COALESCE(SUM(${x}), 0)`, `COALESCE(SUM(${x} * ${x}), 0)`, `COUNT(${x})`];
    return [];
  });
  const names = branch.keys.map((_key, at) => `k${at}`).join(', ');
  const values = branch.measures.map(({ value }, at) => `${expression(value)} AS m${at}`);
  const rows = `SELECT ${[keyItems(one, branch), ...values].join(', ')} ${tables(one, branch, ahead)}`;
  const items = [`moment, ${names}, COUNT(*)`, ...sums].join(', ');
  return `SELECT ${items} FROM (${rows}) AS x GROUP BY moment, ${names}`;
}

function membersSql(one: JoinCase, branch: Branch, value: Expression, ahead: number): string {
  const member = value.type === 'TEXT(8)' ? `HEX(${expression(value)})` : expression(value);
  const names = ['moment', ...branch.keys.map((_key, at) => `k${at}`), 'member'].join(', ');
  const rows =
    `SELECT ${keyItems(one, branch)}, ${member} AS member ` +
    `${tables(one, branch, ahead)} AND (${expression(value)}) IS NOT NULL`;
  return `SELECT ${names}, COUNT(*) FROM (${rows}) AS x GROUP BY ${names}`;
}

function keyItems(one: JoinCase, branch: Branch): string {
  const keys = branch.keys.map((key, at) => `${keyText(key)} AS k${at}`);
  return [`${moment(one)} AS moment`, ...keys].join(', ');
}

/** That of the inputs that drive the report. */
function moment(one: JoinCase): string {
  const driving = one.inputs.find(({ kind }) => kind === 'changes');
  return `${driving?.alias ?? ''}.moment`;
}

function tables(one: JoinCase, branch: Branch, ahead: number): string {
  const from = one.inputs.map(({ alias, table }) => `base_${table} ${alias}`).join(', ');
  const where = one.inputs.flatMap(({ alias, kind }) => {
    if (kind === 'dimension') return [];
    return [`${alias}.moment = ${moment(one)} + ${kind === 'state' ? ahead : 0}`];
  });
  for (const { left, right } of one.conditions) where.push(`${column(right)} = ${column(left)}`);
  const { filter } = branch;
  if (filter?.op === '>') where.push(`${filter.value} < ${column(filter.at)}`);
  if (filter?.op === '<>') where.push(`NOT ${column(filter.at)} = ${filter.value}`);
  if (filter?.op === 'is not null') where.push(`NOT ${column(filter.at)} IS NULL`);
  return `FROM ${from} WHERE ${where.join(' AND ')}`;
}

const column = ({ alias, column: name }: Reference): string => `${alias}.${name}`;

/** Texts by their bytes: no collation decides what is one key. */
function keyText({ left, type }: Expression): string {
  const value = column(left);
  if (type === 'BIGINT') return `CASE WHEN ${value} IS NULL THEN -9 ELSE ${value} END`;
  return `HEX(CASE WHEN ${value} IS NULL THEN 'none' ELSE ${value} END)`;
}

function expression({ op, left, right }: Expression): string {
  if (op === 'add') return `${column(right)} + ${column(left)}`;
  return op === 'times' ? `${column(right)} * ${column(left)}` : column(left);
}

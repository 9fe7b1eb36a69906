/** The text of a case's report, as its author would write it. */
import type { CompiledReport } from '../../../src/job/index.ts';
import type { Branch, Condition, Expression, Input, JoinCase, Reference } from './join-case.ts';

export function compiledReport(one: JoinCase): CompiledReport {
  const [first] = one.branches;
  if (first === undefined) throw new Error('a report has a branch');
  return {
    format: 1,
    name: 'joined',
    source: 'shop',
    database: 'reports',
    inputs: one.inputs.map(({ alias, kind, table }) =>
      kind === 'dimension'
        ? { alias, kind, table, columns: [] }
        : { alias, kind, table, ...usesOf(one, alias) },
    ),
    keys: first.keys.map(({ type }, at) => ({ name: `k${at}`, type, nullable: false })),
    measures: first.measures.map(({ kind, value }, at) => ({
      name: `m${at}`,
      kind,
      type: kind === 'count' ? 'BIGINT' : value.type,
    })),
    sql: reportSql(one),
    parts: 1,
  };
}

export function reportSql(one: JoinCase): string {
  const hidden = one.form === 'with' ? one.inputs.find(({ kind }) => kind === 'changes') : undefined;
  const shown = (alias: string): string => (alias === hidden?.alias ? 'first_of_all' : alias);
  const branches = one.branches.map((branch) => branchSql(one, branch, shown)).join('\nUNION ALL\n');
  const head = hidden === undefined ? '' : `WITH first_of_all AS (SELECT * FROM ${hidden.alias})\n`;
  return `${head}${branches} -- the end`;
}

/** The columns that the text names; all where it says `*`. */
function usesOf(one: JoinCase, alias: string): { readonly uses?: readonly string[] } {
  if (one.form === 'with') return {};
  const named = one.branches.flatMap(({ keys, measures, filter }) => [
    ...[...keys, ...measures.map(({ value }) => value)].flatMap(({ left, right }) => [left, right]),
    ...(filter === undefined ? [] : [filter.at]),
  ]);
  const all = [...named, ...one.conditions.flatMap(({ left, right }) => [left, right])];
  const columns = all.filter((reference) => reference.alias === alias).map(({ column }) => column);
  return { uses: [...new Set(columns)] };
}

type Shown = (alias: string) => string;

function branchSql(one: JoinCase, branch: Branch, shown: Shown): string {
  const items = [
    ...branch.keys.map((key, at) => `${expression(key, shown)} AS k${at}`),
    ...branch.measures.map(({ value }, at) => `${expression(value, shown)} AS m${at}`),
    `${weights(one.inputs, shown)} AS _w`,
  ];
  const { filter } = branch;
  const where: string[] = [];
  if (filter !== undefined) {
    const value = filter.op === 'is not null' ? '' : ` ${filter.value}`;
    where.push(`${reference(filter.at, shown)} ${filter.op}${value}`);
  }
  const joined = one.form === 'comma' ? commas(one, shown, where) : joins(one, shown);
  const tail = where.length === 0 ? '' : ` WHERE ${where.join(' AND ')}`;
  return `SELECT ${items.join(', ')} FROM ${joined}${tail}`;
}

const changing = (inputs: readonly Input[]): Input[] => inputs.filter(({ kind }) => kind === 'changes');
const weights = (inputs: readonly Input[], shown: Shown): string =>
  changing(inputs)
    .map(({ alias }) => `${shown(alias)}._w`)
    .join(' * ');

function commas(one: JoinCase, shown: Shown, where: string[]): string {
  for (const condition of one.conditions) where.push(equality(condition, shown));
  return one.inputs.map(({ alias }) => shown(alias)).join(', ');
}

/** Each condition stands where the second of its inputs comes in. */
function joins(one: JoinCase, shown: Shown): string {
  const order = one.inputs.map(({ alias }) => alias);
  const place = ({ left, right }: Condition): number =>
    Math.max(order.indexOf(left.alias), order.indexOf(right.alias));
  return one.inputs
    .map(({ alias }, at) => {
      if (at === 0) return shown(alias);
      const on = one.conditions.filter((condition) => place(condition) === at);
      if (on.length === 0) return `CROSS JOIN ${shown(alias)}`;
      return `JOIN ${shown(alias)} ON ${on.map((condition) => equality(condition, shown)).join(' AND ')}`;
    })
    .join(' ');
}

const reference = ({ alias, column }: Reference, shown: Shown): string => `${shown(alias)}.${column}`;
const equality = ({ left, right }: Condition, shown: Shown): string =>
  `${reference(left, shown)} = ${reference(right, shown)}`;

function expression({ op, left, right, type }: Expression, shown: Shown): string {
  const a = reference(left, shown);
  const b = reference(right, shown);
  switch (op) {
    case 'column':
      return a;
    case 'add':
      return `${a} + ${b}`;
    case 'times':
      return `${a} * ${b}`;
    case 'coalesce':
      return `COALESCE(${a}, ${type === 'BIGINT' ? '-9' : `'none'`})`;
  }
}

/** The rules of one report of a job file: its references, inputs, keys, measures and the text of its SQL. */
import { parseColumnType, type DeclaredType, type EngineKind } from '../sql/index.ts';
import { affectedKeysOf } from './affected-keys/affected-keys-rules.ts';
import type { JobDatabase, JobInput, JobKey, JobReport, JobSource } from './file/job-file.ts';
import { isMultisetMeasure } from './contribution-queries.ts';
import { suggestion, unknownName } from './file/did-you-mean.ts';
import type { Findings } from './findings.ts';
import type { RawReport } from './file/job-schema.ts';
import { engineOf, type Measure, type MeasureKind } from './model.ts';
import type { Path } from './file/problems.ts';
import { checkReportSql } from './sql/sql-contract.ts';

const MEASURE_KINDS: readonly MeasureKind[] = [
  ...(['count', 'sum', 'avg', 'variance', 'min', 'max', 'distinct', 'value'] as const),
];
const CLASSES = ['contribution', 'affectedKeys'];
const INPUT_KINDS = ['changes', 'state', 'dimension'] as const;
const CHANGING_MAX = 8;
const KEYS_MAX = 16;
/** Leaves room for the digits that a sum adds, within the 65 of MySQL: see `sumType`. */
const SUM_PRECISION_MAX = 43;
/** Squares have twice the digits, before the point and after it: their sums fit the 65 and 30 of MySQL. */
const SQUARED = { precision: 20, scale: 15 };
/** Types of captured columns that a report cannot declare: its SQL makes text or a number of them. */
const CAPTURED_ONLY: readonly DeclaredType['kind'][] = ['FLOAT', 'YEAR', 'BIT', 'ENUM', 'SET'];
const MEASURES_MAX = 64;
/** InnoDB's longest key is 3,072 bytes; a contribution's also holds source, window, part and token. */
const KEY_BYTES_MAX = 3_000;

export interface JobParts {
  readonly sources: readonly JobSource[];
  readonly stores: readonly JobDatabase[];
  readonly databases: readonly JobDatabase[];
}

/**
 * Returns the report, or undefined if what it refers to is missing; either way all problems are in
 * `findings`.
 */
export function checkReportRules(
  name: string,
  raw: RawReport,
  parts: JobParts,
  findings: Findings,
): JobReport | undefined {
  const path = ['reports', name];
  const isAffectedKeys = raw.class === 'affectedKeys';
  if (raw.class !== undefined && !CLASSES.includes(raw.class)) {
    findings.add('JOB_INVALID', [...path, 'class'], unknownName('class', raw.class, CLASSES));
  }
  const source = refer('source', raw.source, parts.sources, path, findings);
  const database = refer('database', raw.database, parts.databases, path, findings);
  if (source === undefined || database === undefined) return undefined;
  const engines = [source, database, ...parts.stores].map((part) => engineOf(part.database));
  const embedded = engines.includes('embedded');
  const inputs = inputsOf(raw, source, path, findings);
  const keys = keysOf(raw, embedded, path, findings);
  const measures = measuresOf(raw, embedded, path, findings);
  checkNames(keys, measures, path, findings);
  checkKeyBytes(keys, measures, path, findings);
  const kind: EngineKind = engineOf(source.database);
  checkClass(raw, isAffectedKeys, path, findings);
  const affectedKeys = isAffectedKeys
    ? affectedKeysOf(raw, { inputs, keys, kind, path }, findings)
    : undefined;
  if (!isAffectedKeys) {
    findings.during([...path, 'sql'], () => {
      checkReportSql(raw.sql, inputs, kind);
    });
  }
  return {
    name,
    source: source.name,
    database: database.name,
    inputs,
    keys,
    measures,
    sql: raw.sql,
    ...(affectedKeys === undefined ? {} : { affectedKeys }),
    paused: raw.paused,
  };
}

/** What one class has and the other has not: cells as they are, and SELECTs of touched keys. */
function checkClass(raw: RawReport, isAffectedKeys: boolean, path: Path, findings: Findings): void {
  for (const [name, { kind }] of Object.entries(raw.measures)) {
    if ((kind === 'value') === isAffectedKeys || !MEASURE_KINDS.some((known) => known === kind)) continue;
    const message = isAffectedKeys
      ? `${kind} adds up rows: in class affectedKeys the SQL does, and each measure is of kind value`
      : 'kind value is a cell as the SQL gives it: write class: affectedKeys';
    findings.add('MEASURE_TYPE', [...path, 'measures', name, 'kind'], message);
  }
  for (const [alias, { touched, changes }] of Object.entries(raw.inputs)) {
    if (touched === undefined || (isAffectedKeys && changes !== undefined)) continue;
    const message = 'touched belongs to a changes input of a report of class affectedKeys';
    findings.add('JOB_INVALID', [...path, 'inputs', alias, 'touched'], message);
  }
}

/** A reference may be left out when there is only one thing to refer to. */
function refer<T extends JobDatabase>(
  what: 'source' | 'database',
  name: string | undefined,
  known: readonly T[],
  path: Path,
  findings: Findings,
): T | undefined {
  const names = known.map((part) => part.name);
  if (name === undefined) {
    const [only, ...more] = known;
    if (only !== undefined && more.length === 0) return only;
    findings.add('JOB_INVALID', path, `${what} is missing; known: ${names.join(', ')}`);
    return undefined;
  }
  const found = known.find((part) => part.name === name);
  if (found === undefined) findings.add('JOB_INVALID', [...path, what], unknownName(what, name, names));
  return found;
}

function inputsOf(raw: RawReport, source: JobSource, path: Path, findings: Findings): JobInput[] {
  const captured = source.tables.map((table) => table.table);
  const inputs = Object.entries(raw.inputs).flatMap(([alias, input]): JobInput[] => {
    const at = [...path, 'inputs', alias];
    const [named, ...more] = INPUT_KINDS.filter((known) => input[known] !== undefined);
    const table = named === undefined ? undefined : input[named];
    if (named === undefined || table === undefined || more.length > 0) {
      findings.add('JOB_INVALID', at, 'name one: changes: TABLE, state: TABLE or dimension: TABLE');
      return [];
    }
    if (named !== 'dimension' && !captured.includes(table)) {
      const known = suggestion(table, captured);
      findings.add(
        'JOB_INVALID',
        [...at, named],
        `table ${table} is not captured from ${source.name}; ${known}`,
      );
    }
    if (named === 'dimension' && captured.includes(table)) {
      findings.add(
        'JOB_INVALID',
        [...at, named],
        `${table} is captured: a table that changes is no dimension`,
      );
    }
    return [{ alias, kind: named, table }];
  });
  const changing = inputs.filter((input) => input.kind === 'changes').length;
  if (changing === 0)
    findings.add('JOB_INVALID', [...path, 'inputs'], 'at least one input is of kind changes');
  if (changing > CHANGING_MAX) {
    const message = `at most ${CHANGING_MAX} inputs are of kind changes: the SQL runs once for each of them`;
    findings.add('JOB_INVALID', [...path, 'inputs'], message);
  }
  const aliases = inputs.map((input) => input.alias.toLowerCase());
  if (new Set(aliases).size < aliases.length) {
    findings.add('JOB_INVALID', [...path, 'inputs'], 'aliases differ by more than upper and lower case');
  }
  return inputs;
}

function keysOf(raw: RawReport, embedded: boolean, path: Path, findings: Findings): JobKey[] {
  const keys = Object.entries(raw.keys).map(([name, type]) => ({ name, type: type.trim().toUpperCase() }));
  if (keys.length === 0 || keys.length > KEYS_MAX) {
    findings.add('JOB_INVALID', [...path, 'keys'], `a report has 1 to ${KEYS_MAX} keys`);
  }
  for (const { name, type } of keys) {
    const declared = typeOf(type, embedded, [...path, 'keys', name], findings);
    if (declared?.kind === 'DOUBLE' || declared?.kind === 'JSON') {
      findings.add(
        'COLUMN_TYPE',
        [...path, 'keys', name],
        `${type} cannot be a key: it is not compared exactly`,
      );
    }
  }
  return keys;
}

function measuresOf(raw: RawReport, embedded: boolean, path: Path, findings: Findings): Measure[] {
  const entries = Object.entries(raw.measures);
  if (entries.length === 0 || entries.length > MEASURES_MAX) {
    findings.add('JOB_INVALID', [...path, 'measures'], `a report has 1 to ${MEASURES_MAX} measures`);
  }
  return entries.flatMap(([name, measure]): Measure[] => {
    const at = [...path, 'measures', name];
    const kind = MEASURE_KINDS.find((known) => known === measure.kind);
    if (kind === undefined) {
      findings.add('JOB_INVALID', [...at, 'kind'], unknownName('measure kind', measure.kind, MEASURE_KINDS));
      return [];
    }
    if (measure.type === undefined && kind !== 'count') {
      findings.add('JOB_INVALID', at, `type is missing: that of the value, as BIGINT or DECIMAL(12,2)`);
      return [];
    }
    const type = (measure.type ?? 'BIGINT').trim().toUpperCase();
    const declared = typeOf(type, embedded, [...at, 'type'], findings);
    if (declared !== undefined && !mayMeasure(kind, declared)) {
      findings.add('MEASURE_TYPE', [...at, 'type'], `${type} cannot be kept exactly by ${kind}`);
    }
    return [{ name, kind, type }];
  });
}

function typeOf(type: string, embedded: boolean, path: Path, findings: Findings): DeclaredType | undefined {
  let declared: DeclaredType | undefined;
  findings.during(path, () => {
    declared = parseColumnType(type);
  });
  if (declared?.kind === 'DECIMAL' && embedded) {
    findings.add('DECIMAL_EMBEDDED', path, 'DECIMAL is not exact on the embedded engine');
  }
  if (declared?.kind === 'BIGINT' && declared.unsigned && declared.bytes === 8 && embedded) {
    findings.add('COLUMN_TYPE', path, 'BIGINT UNSIGNED is not exact on the embedded engine');
  }
  if (declared !== undefined && CAPTURED_ONLY.includes(declared.kind)) {
    findings.add('COLUMN_TYPE', path, `${declared.kind} is a type of captured columns only: CAST in the SQL`);
  }
  return declared;
}

function mayMeasure(kind: MeasureKind, type: DeclaredType): boolean {
  if (kind === 'count') return type.kind === 'BIGINT';
  if (kind === 'sum' || kind === 'avg') {
    return type.kind === 'BIGINT' || (type.kind === 'DECIMAL' && type.precision <= SUM_PRECISION_MAX);
  }
  if (kind === 'value') return true;
  if (kind === 'variance') {
    if (type.kind !== 'DECIMAL') return type.kind === 'BIGINT';
    return type.precision <= SQUARED.precision && type.scale <= SQUARED.scale;
  }
  return type.kind !== 'DOUBLE' && type.kind !== 'JSON' && type.kind !== 'BOOL';
}

function checkNames(
  keys: readonly JobKey[],
  measures: readonly Measure[],
  path: Path,
  findings: Findings,
): void {
  const seen = new Set(keys.map((key) => key.name.toLowerCase()));
  for (const { name } of measures) {
    if (seen.has(name.toLowerCase())) {
      findings.add('JOB_INVALID', [...path, 'measures', name], 'another key or measure has this name');
    }
    seen.add(name.toLowerCase());
  }
}

function checkKeyBytes(
  keys: readonly JobKey[],
  measures: readonly Measure[],
  path: Path,
  findings: Findings,
): void {
  const members = measures.filter(isMultisetMeasure);
  const longest = Math.max(0, ...members.map(({ type }) => keyBytes(type)));
  const bytes = keys.reduce((sum, { type }) => sum + keyBytes(type), longest);
  if (bytes <= KEY_BYTES_MAX) return;
  const what = 'keys and the longest value of min, max and distinct';
  const message = `${what} take ${bytes} bytes, over ${KEY_BYTES_MAX}`;
  findings.add('JOB_INVALID', [...path, 'keys'], message);
}

/** What a value takes in an index; a type that is wrong was told before. */
function keyBytes(type: string): number {
  const match = /^(TEXT|BYTES)\((\d+)\)$/.exec(type);
  if (match === null) return 20;
  return Number(match[2]) * (match[1] === 'TEXT' ? 4 : 1);
}

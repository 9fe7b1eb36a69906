/** What both engines want to know of a statement's text before they send it, remembered per text. */
import { assert, TidemarkError } from '../base/index.ts';
import type { EngineKind, SqlParam } from './engine.ts';
import { tokenize, type Token } from './tokens.ts';

export interface StatementShape {
  /** Offsets of the `?` placeholders. */
  readonly placeholders: readonly number[];
  /** Whether it cannot change anything, going by its first word. */
  readonly reads: boolean;
}

const SHAPES_MAX = 500;
const TEXT_MAX = 20_000;
const shapes: Record<EngineKind, Map<string, StatementShape>> = { mysql: new Map(), embedded: new Map() };

const READS: ReadonlySet<string> = new Set(['SELECT', 'SHOW', 'EXPLAIN', 'DESCRIBE', 'WITH', 'VALUES']);

/** @throws TidemarkError `SQL_INVALID` for more than one statement: SQLite would run only the first. */
export function statementShape(sql: string, kind: EngineKind): StatementShape {
  const known = shapes[kind];
  const found = known.get(sql);
  if (found !== undefined) return found;
  const tokens = tokenize(sql, kind);
  assertSingle(tokens);
  const shape: StatementShape = {
    placeholders: tokens.filter((token) => token.kind === 'placeholder').map((token) => token.start),
    reads: READS.has(word(tokens, 0)),
  };
  if (known.size >= SHAPES_MAX) known.clear();
  if (sql.length <= TEXT_MAX) known.set(sql, shape);
  return shape;
}

/** Asserts that a statement has as many placeholders as parameters: SQLite would bind NULL to the rest. */
export function assertBound(shape: StatementShape, params: readonly SqlParam[]): void {
  assert(
    shape.placeholders.length === params.length,
    () => `SQL has ${shape.placeholders.length} placeholders, ${params.length} parameters given`,
  );
}

function assertSingle(tokens: readonly Token[]): void {
  const semicolon = tokens.findIndex((token) => token.text === ';' && token.kind === 'symbol');
  if (semicolon === -1 || semicolon === tokens.length - 1) return;
  // A trigger's body holds statements of its own.
  if (
    word(tokens, 0) === 'CREATE' &&
    tokens.slice(1, 4).some((token) => token.text.toUpperCase() === 'TRIGGER')
  )
    return;
  throw new TidemarkError('SQL_INVALID', 'more than one SQL statement in a text');
}

function word(tokens: readonly Token[], at: number): string {
  return (tokens[at]?.text ?? '').toUpperCase();
}

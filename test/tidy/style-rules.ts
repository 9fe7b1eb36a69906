/**
 * The style rules of CONTRIBUTING.md that a program can check. Each tells where it is broken: `file:line:
 * what`.
 */
import ts from 'typescript';
import type { Source } from './sources.ts';

export type Rule = (source: Source) => readonly string[];

const LINE_MAX = 110;
const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 70;

const isCode = (path: string): boolean => /\.(ts|mjs|js)$/.test(path);
const isProduct = (path: string): boolean => path.startsWith('src/');

export const shortLines: Rule = ({ path, lines }) => {
  if (!isCode(path)) return [];
  return lines.flatMap((line, index) =>
    line.length > LINE_MAX ? [`${path}:${index + 1}: ${line.length} columns, ${LINE_MAX} at most`] : [],
  );
};

export const shortFiles: Rule = ({ path, lines }) =>
  isCode(path) && lines.length > FILE_LINES_MAX
    ? [`${path}:1: ${lines.length} lines, ${FILE_LINES_MAX} at most`]
    : [];

export const kebabCase: Rule = ({ path }) => {
  const name = path.split('/').at(-1) ?? '';
  return isCode(path) && !/^[a-z0-9]+([-.][a-z0-9]+)*\.[a-z]+$/.test(name)
    ? [`${path}:1: not kebab-case`]
    : [];
};

export const noGrabBags: Rule = ({ path }) =>
  /(^|\/)(utils?|helpers?|common|misc)(\.|\/|-)/.test(path) ? [`${path}:1: name it after what it does`] : [];

/** In brackets, so that this line does not break the rule. */
const UNFINISHED = /\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b/;

export const nothingUnfinished: Rule = ({ path, lines }) =>
  lines.flatMap((line, index) => (UNFINISHED.test(line) ? [`${path}:${index + 1}: unfinished work`] : []));

export const noConsole: Rule = ({ path, lines }) => {
  if (!isProduct(path)) return [];
  return lines.flatMap((line, index) =>
    /\bconsole\.\w/.test(line) ? [`${path}:${index + 1}: console`] : [],
  );
};

export const noFocusedTests: Rule = ({ path, lines }) => {
  if (!path.endsWith('.test.ts')) return [];
  // `skipIf` is for suites that need a server; npm test ends non-zero when one of them did not run.
  const pattern = /\b(it|test|describe)\s*\.\s*(only|skip|todo|fails)\b|\bretry\s*:\s*\d/;
  return lines.flatMap((line, index) =>
    pattern.test(line) ? [`${path}:${index + 1}: focused, skipped or retried test`] : [],
  );
};

export const noFixedSleep: Rule = ({ path, lines }) => {
  if (!path.endsWith('.test.ts')) return [];
  const pattern = /\bawait\s+(sleep|delay|wait|setTimeout|scheduler\.wait)\(\s*[\d_]+/;
  return lines.flatMap((line, index) =>
    pattern.test(line) ? [`${path}:${index + 1}: waits a fixed time; wait for a condition`] : [],
  );
};

const parsed = new WeakMap<Source, ts.SourceFile>();

function parse(source: Source): ts.SourceFile {
  const file =
    parsed.get(source) ?? ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2023, true);
  parsed.set(source, file);
  return file;
}

export const shortFunctions: Rule = (source) => {
  if (!isCode(source.path)) return [];
  const file = parse(source);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const first = file.getLineAndCharacterOfPosition(node.getStart()).line;
      const length = file.getLineAndCharacterOfPosition(node.end).line - first + 1;
      if (length > FUNCTION_LINES_MAX && !isSuite(node)) {
        found.push(`${source.path}:${first + 1}: function of ${length} lines, ${FUNCTION_LINES_MAX} at most`);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
};

/**
 * A list of tests is no function in the sense of the rule: the body of a `describe`, and what declares tests.
 */
function isSuite(node: ts.Node): boolean {
  if (ts.isCallExpression(node.parent) && node.parent.expression.getText().startsWith('describe'))
    return true;
  return node.getSourceFile().fileName.startsWith('test/') && declaresTests(node);
}

function declaresTests(node: ts.Node): boolean {
  if (ts.isCallExpression(node) && /^(it|test|describe)\b/.test(node.expression.getText())) return true;
  return ts.forEachChild(node, (child) => declaresTests(child) || undefined) ?? false;
}

/**
 * A comment alone does not handle an error: it is mapped to a code, rethrown, or ends the process. A
 * rejection that is dropped because somebody else gets it needs a comment that says who.
 */
export const noEmptyCatch: Rule = (source) => {
  const { path, lines } = source;
  if (!isCode(path)) return [];
  const file = parse(source);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const line = file.getLineAndCharacterOfPosition(node.end).line;
    const explained = lines
      .slice(Math.max(0, line - 4), line)
      .some((above) => /^\s*(\/\/|\/?\*)/.test(above));
    const clause = ts.isCatchClause(node) && node.block.statements.length === 0;
    const dropped = isProduct(path) && isEmptyCatchCall(node) && !explained;
    if (clause || dropped) found.push(`${path}:${line + 1}: an error is caught and dropped`);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
};

/** `promise.catch(() => {})` and `promise.catch(() => undefined)`. */
function isEmptyCatchCall(node: ts.Node): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  if (node.expression.name.text !== 'catch') return false;
  const handler = node.arguments[0];
  if (handler === undefined || !ts.isArrowFunction(handler)) return false;
  if (ts.isBlock(handler.body)) return handler.body.statements.length === 0;
  return handler.body.getText() === 'undefined';
}

/** A path of somebody's machine means nothing to others. */
export const noMachinePaths: Rule = ({ path, lines }) =>
  lines.flatMap((line, index) =>
    /(^|[\s'"`(=])\/(work|root|home|Users)\/\w/.test(line)
      ? [`${path}:${index + 1}: a path of one machine`]
      : [],
  );

export const STYLE_RULES: Readonly<Record<string, Rule>> = {
  shortLines,
  shortFiles,
  kebabCase,
  noGrabBags,
  nothingUnfinished,
  noConsole,
  noFocusedTests,
  noFixedSleep,
  shortFunctions,
  noEmptyCatch,
  noMachinePaths,
};

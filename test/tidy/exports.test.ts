import ts from 'typescript';
import { expect, it } from 'vitest';
import { projectSources, type Source } from './sources.ts';

/**
 * Functions, classes and constants that a file exports, with their lines. Types are part of signatures
 * anyway.
 */
function exportedValues({ path, text }: Source): { name: string; line: number }[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const found: { name: string; line: number }[] = [];
  for (const statement of file.statements) {
    if (!ts.canHaveModifiers(statement)) continue;
    const modifiers = ts.getModifiers(statement) ?? [];
    if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) continue;
    const line = file.getLineAndCharacterOfPosition(statement.getStart()).line + 1;
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations)
        found.push({ name: name.getText(), line });
    } else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) {
      if (statement.name !== undefined) found.push({ name: statement.name.text, line });
    }
  }
  return found;
}

/** A file that only passes on what others export. */
function isDoor({ path, text }: Source): boolean {
  if (!path.endsWith('/index.ts')) return false;
  const { statements } = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023);
  return statements.every((statement) => ts.isExportDeclaration(statement));
}

function occurrences(text: string, name: string): number {
  return text.match(new RegExp(`(?<![\\w$])${name.replaceAll('$', '\\$')}(?![\\w$])`, 'g'))?.length ?? 0;
}

/** Code that nothing uses is read for nothing. A door that only passes a name on is no use of it. */
it('exports nothing that nobody uses', () => {
  const sources = projectSources('.ts', '.mjs', '.js');
  const users = sources.filter((source) => !isDoor(source));
  const words = new Map(users.map(({ path, text }) => [path, new Set(text.match(/[A-Za-z_$][\w$]*/g))]));
  const product = sources.filter(
    ({ path }) => /^src\//.test(path) && !path.startsWith('src/base/test-build'),
  );
  const dead = product.flatMap((source) =>
    exportedValues(source)
      .filter(({ name }) => occurrences(source.text, name) === 1)
      .filter(({ name }) => ![...words].some(([path, used]) => path !== source.path && used.has(name)))
      .map(({ name, line }) => `${source.path}:${line}: ${name}`),
  );
  expect(dead).toEqual([]);
});

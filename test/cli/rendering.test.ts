import { describe, expect, it } from 'vitest';
import { AssertionError, ERRORS, TidemarkError } from '../../src/base/index.ts';
import { nearest } from '../../src/cli/nearest.ts';
import { createOutput, toJson } from '../../src/cli/output.ts';
import { renderError } from '../../src/cli/render-error.ts';
import { formatTable } from '../../src/cli/table.ts';

describe('errors', () => {
  const error = new TidemarkError('PORT_IN_USE', '127.0.0.1:7401 is taken', { next: 'Choose another.' });

  it('say what, why and what next', () => {
    expect(renderError(error, 'table')).toBe(
      [
        'error PORT_IN_USE: 127.0.0.1:7401 is taken',
        `why   ${ERRORS.PORT_IN_USE.meaning}`,
        'next  Choose another.',
      ].join('\n'),
    );
  });

  it('are one document for programs', () => {
    expect(JSON.parse(renderError(error, 'json'))).toEqual({
      format: 1,
      error: {
        code: 'PORT_IN_USE',
        message: '127.0.0.1:7401 is taken',
        why: ERRORS.PORT_IN_USE.meaning,
        next: 'Choose another.',
        retry: 'never',
        details: {},
      },
    });
  });

  it('never tell an unknown outcome as a failure', () => {
    const unknown = renderError(new TidemarkError('OUTCOME_UNKNOWN', 'cut off'), 'table');
    expect(unknown).toContain('next  Look whether the change took effect before you repeat it.');
  });

  it.each([new AssertionError('broken'), new TypeError('broken')])(
    'show the stack of a mistake of ours',
    (mistake) => {
      expect(renderError(mistake, 'table')).toMatch(/^error INTERNAL: broken\n[^]*\n\s+at /);
    },
  );
});

describe('results', () => {
  it('keep 64-bit numbers exact', () => {
    expect(toJson({ token: 9_223_372_036_854_775_807n })).toContain('"9223372036854775807"');
  });

  it('align columns, numbers to the right', () => {
    const rows = [
      { name: 'a', rows: 5n },
      { name: 'longer', rows: 12_345n },
    ];
    const table = formatTable(rows, [
      { title: 'NAME', value: (row) => row.name },
      { title: 'ROWS', value: (row) => row.rows },
    ]);
    expect(table).toBe('NAME     ROWS\na           5\nlonger  12345');
  });

  it.each([
    ['table', 'no tasks\n'],
    ['json', '{\n  "format": 1,\n  "tasks": []\n}\n'],
  ] as const)('say on stdout as %s that a list is empty', (format, expected) => {
    const written: string[] = [];
    const stdout = { write: (text: string) => written.push(text) };
    const stderr = { write: () => expect.unreachable() };
    createOutput(format, stdout, stderr).rows('tasks', [], []);
    expect(written.join('')).toBe(expected);
  });
});

describe('did you mean', () => {
  it.each([
    ['clustr', 'cluster'],
    ['statsu', 'status'],
    ['dve', undefined],
    ['nothing', undefined],
  ])('%s -> %s', (word, expected) => {
    expect(nearest(word, ['cluster', 'status', 'dev', 'executor'])).toBe(expected);
  });
});

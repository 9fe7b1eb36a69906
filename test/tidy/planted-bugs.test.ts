import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { PLANTED_BUGS } from '../planted-bugs.ts';

it('every passage that a planted bug replaces is in its file, once', () => {
  const passages = PLANTED_BUGS.flatMap(({ broken }) => (typeof broken === 'string' ? [] : [broken]));
  const lost = passages.filter(({ file, find }) => readFileSync(file, 'utf8').split(find).length !== 2);
  expect(lost).toEqual([]);
});

it('the tests that are to catch a planted bug are there', () => {
  expect(PLANTED_BUGS.filter(({ file }) => !existsSync(file))).toEqual([]);
});

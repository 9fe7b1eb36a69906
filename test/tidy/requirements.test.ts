import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { REQUIREMENTS, WITHOUT_TEST } from '../raft/requirements.ts';
import { BREAKS } from '../raft/breaks.ts';
import { testsByRequirement } from './requirement-tests.ts';

const tests = testsByRequirement();
const ids = REQUIREMENTS.flatMap(({ requirements }) => requirements.map(({ id }) => id));
const without = new Set(Object.keys(WITHOUT_TEST).map(Number));

it('every requirement of consensus has a test', () => {
  expect(ids.filter((id) => !tests.has(id) && !without.has(id))).toEqual([]);
});

it('every requirement that a test names is in the list', () => {
  expect([...tests.keys()].filter((id) => !ids.includes(id) || without.has(id))).toEqual([]);
});

it('every requirement can be broken, so that its tests can be seen to fail', () => {
  const broken = new Set(BREAKS.map(({ requirement }) => requirement));
  expect(ids.filter((id) => !broken.has(id) && !without.has(id))).toEqual([]);
});

it('every passage that is to read otherwise is in its file, once', () => {
  const passages = BREAKS.flatMap(({ broken }) => (typeof broken === 'string' ? [] : [broken]));
  const lost = passages.filter(({ file, find }) => readFileSync(file, 'utf8').split(find).length !== 2);
  expect(lost).toEqual([]);
});

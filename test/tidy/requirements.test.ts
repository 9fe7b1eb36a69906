import { expect, it } from 'vitest';
import { PENDING, REQUIREMENTS, WITHOUT_TEST } from '../raft/requirements.ts';
import { testsByRequirement } from './requirement-tests.ts';

const tests = testsByRequirement();
const ids = REQUIREMENTS.flatMap(({ requirements }) => requirements.map(({ id }) => id));
const without = new Set(Object.keys(WITHOUT_TEST).map(Number));

it('every requirement of consensus has a test, or is named as one that has none yet', () => {
  const excused = new Set([...without, ...PENDING]);
  expect(ids.filter((id) => !tests.has(id) && !excused.has(id))).toEqual([]);
});

it('every requirement that a test names is in the list', () => {
  expect([...tests.keys()].filter((id) => !ids.includes(id) || without.has(id))).toEqual([]);
});

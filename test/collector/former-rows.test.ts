import { expect } from 'vitest';
import { systemClock } from '../../src/base/index.ts';
import { FormerRows } from '../../src/collector/snapshot/former-rows.ts';
import type { CompiledSource } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

rule('collector.resnapshotBeforeStates', 'a re-snapshot waits for the row states of its window', async () => {
  let held = 1;
  const states = { held: () => Promise.resolve(held++), read: () => Promise.resolve() };
  const former = new FormerRows(states, systemClock, new AbortController().signal);
  const source: CompiledSource = {
    format: 1,
    name: 'shop',
    engine: 'mysql',
    database: { embedded: { file: 'not read here' } },
    tables: [],
    window: { lengthMs: 1, rowsMax: 1, bytesMax: 1 },
  };
  expect(former.standsOn(source)).toBe(false);
  await former.reach(source, 3);
  expect(held).toBe(4);
  expect(former.standsOn(source)).toBe(true);
});

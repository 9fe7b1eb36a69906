/** Chaos on the embedded engine: every required event happens, and every cell is right. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { processesOf } from './processes.ts';
import { runDev } from './spawn-dev.ts';

it('survives the four events of evidence rule 3 with every cell right', { timeout: 150_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-chaos-'));
  const { code, run, said } = await runDev(folder, ['--duration=5s', '--rate=500', '--chaos', '--verify']);
  expect(run.problems, said).toEqual([]);
  expect(run.verify).toMatchObject({ reports: 10, wrongCells: 0 });
  expect(run.chaos).toMatchObject({ missing: [] });
  expect(run.crashes).toEqual([]);
  expect(code).toBe(0);
  expect(await processesOf(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

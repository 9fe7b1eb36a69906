/** `tidemark dev` from end to end, on the embedded engine: what a stranger sees who types `npm start`. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { processesOf } from './processes.ts';
import { runDev, startDev } from './spawn-dev.ts';

describe('tidemark dev', () => {
  let root = '';
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'tidemark-dev-'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  it(
    'keeps every cell right while its leader is killed, and goes on from a kept folder',
    { timeout: 120_000 },
    async () => {
      const folder = join(root, 'kept');
      const first = await runDev(folder, ['--duration=7s', '--verify']);
      expect(first.run.problems).toEqual([]);
      expect(first.code).toBe(0);
      expect(first.run.verify).toMatchObject({ reports: 10, wrongCells: 0 });
      expect(first.run.verify?.cells).toBeGreaterThan(1_000);
      expect(first.run.leaderKills.count).toBe(1);
      expect(first.run.freshnessMs.samples).toBeGreaterThan(10);
      expect(first.said).toMatch(/^window 3 {2}\d+ rows {2}merged in \d+ ms/m);
      expect(await processesOf(folder)).toEqual([]);

      const second = await runDev(folder, ['--duration=2s', '--verify']);
      expect(second.run.problems).toEqual([]);
      expect(second.run.verify).toMatchObject({ wrongCells: 0 });
      expect(second.said).toContain('an earlier run goes on');
      expect(second.said).not.toMatch(/^window 1 /m);
    },
  );

  it('ends everything with Ctrl-C, and leaves no folder with --ephemeral', { timeout: 60_000 }, async () => {
    const folder = join(root, 'ephemeral');
    const dev = await startDev(folder, ['--ephemeral']);
    await eventually(() => dev.said().includes('Ctrl-C ends'), { withinMs: 40_000, what: dev.said });
    const other = await startDev(folder, []);
    expect(await other.ended).toMatchObject({ code: 78, stdout: '' });
    expect(other.said()).toMatch(/^error DATA_IN_USE: /m);
    dev.process.kill('SIGINT');
    expect((await dev.ended).code).toBe(0);
    expect(await processesOf(folder)).toEqual([]);
    expect(await readdir(root)).not.toContain('ephemeral');
  });

  it('ends everything when it is killed, also a stopped child', { timeout: 60_000 }, async () => {
    const folder = join(root, 'killed');
    const dev = await startDev(folder, []);
    await eventually(() => dev.said().includes('Ctrl-C ends'), { withinMs: 40_000, what: dev.said });
    const [executor] = await processesOf(`--folder=${folder}`);
    expect(executor).toBeDefined();
    process.kill(executor ?? 0, 'SIGSTOP');
    dev.process.kill('SIGKILL');
    await eventually(async () => (await processesOf(folder)).length === 0, { withinMs: 20_000 });
  });
});

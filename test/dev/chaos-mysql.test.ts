/** The same chaos through a real binlog, on a private server that ends with the run. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { mariadbMissing } from '../support/mariadb.ts';
import { processesOf } from './processes.ts';
import { runDev } from './spawn-dev.ts';

it.skipIf(mariadbMissing())(
  'survives the four events on MariaDB with every cell right',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-chaos-mysql-'));
    const { code, run, said } = await runDev(folder, ['--mysql', '--duration=5s', '--chaos', '--verify']);
    expect(run.problems, said).toEqual([]);
    expect(run.verify).toMatchObject({ reports: 10, wrongCells: 0 });
    expect(run.chaos).toMatchObject({ missing: [] });
    expect(code).toBe(0);
    expect(await processesOf(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  },
);

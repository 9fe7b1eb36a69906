import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createInterface } from 'node:readline';
import { beforeAll, expect, test } from 'vitest';
import { must } from '../../src/base/index.ts';
import { builtCli } from '../support/dist.ts';
import { eventually } from '../support/eventually.ts';

/** The child would live for ever, but for its parent; the parent only starts it and tells its pid. */
const CHILD = (ops: string): string => `
  import { endWithParent } from ${JSON.stringify(ops)};
  endWithParent(() => process.exit(0));
  setInterval(() => undefined, 1_000);
  process.send('ready');
`;
const PARENT = (child: string): string => `
  import { spawn } from 'node:child_process';
  const child = spawn(process.execPath, ['--input-type=module', '-e', ${JSON.stringify(child)}],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.on('message', () => console.log(child.pid));
  setInterval(() => undefined, 1_000);
`;

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
};

let ops = '';

beforeAll(async () => {
  ops = pathToFileURL(`${dirname(dirname(await builtCli()))}/ops/index.js`).href;
});

test('a child ends when its parent is killed, which cannot tell it', async () => {
  const parent = spawn(process.execPath, ['--input-type=module', '-e', PARENT(CHILD(ops))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  process.kill(must(parent.pid, 'pid of the parent'), 'SIGKILL');
  await eventually(() => !isAlive(pid), { withinMs: 5_000, what: 'the end of the child' });
});

import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** Runs the short part of a script of `scripts/power`; where it fails, what it said is shown. */
export async function shortPartPasses(name: string): Promise<void> {
  const script = fileURLToPath(new URL(`../../scripts/power/${name}`, import.meta.url));
  const child = spawn(process.execPath, [script, '--short'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const said = await text(child.stdout);
  expect(await ended, said).toBe(0);
}

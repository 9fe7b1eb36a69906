/**
 * The test build's half of `#test-build`.
 *
 * Tests in the same process call {@link setMutation} and {@link armFailpoint}. The chaos driver reaches a
 * child process over its IPC channel with {@link TestBuildMessage}s, and hears of every hit by
 * {@link FailpointHit}. `TIDEMARK_MUTATIONS` (comma-separated) switches rules off from the start.
 */
import {
  FAILPOINTS,
  MUTATIONS,
  type FailpointArm,
  type FailpointHit,
  type FailpointName,
  type MutationName,
  type TestBuildMessage,
} from './test-build-names.ts';

const armed = new Map<FailpointName, FailpointArm>();
const held = new Map<FailpointName, (() => void)[]>();
const mutations = new Set<MutationName>();
const listeners = new Set<(hit: FailpointHit) => void>();
const MachineDate = globalThis.Date;

for (const name of (process.env['TIDEMARK_MUTATIONS'] ?? '').split(',').filter((part) => part !== '')) {
  if (!(MUTATIONS as readonly string[]).includes(name))
    throw new Error(`TIDEMARK_MUTATIONS: unknown mutation ${name}`);
  mutations.add(name as MutationName);
}

/** Arms a failpoint for its next matching hit; it disarms itself by that hit. */
export function armFailpoint(arm: FailpointArm): void {
  if (!FAILPOINTS.includes(arm.name)) throw new Error(`unknown failpoint ${arm.name}`);
  armed.set(arm.name, arm);
}

export function disarmFailpoint(name: FailpointName): void {
  armed.delete(name);
  releaseFailpoint(name);
}

/** Lets everything go on that a `pause` holds at this failpoint. */
export function releaseFailpoint(name: FailpointName): void {
  const waiting = held.get(name) ?? [];
  held.delete(name);
  for (const resume of waiting) resume();
}

export function onFailpointHit(listener: (hit: FailpointHit) => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}

export function setMutation(name: MutationName, on: boolean): void {
  if (on) mutations.add(name);
  else mutations.delete(name);
}

export function mutated(name: MutationName): boolean {
  return mutations.has(name);
}

export async function failpoint(
  name: FailpointName,
  detail: Readonly<Record<string, string>> = {},
): Promise<void> {
  const arm = take(name, detail);
  if (arm === undefined) return;
  await tell({ testBuild: 'hit', name, action: arm.action, detail });
  if (arm.action === 'kill') die();
  if (arm.action === 'error') throw new Error(`failpoint ${name}`);
  await new Promise<void>((resume) => {
    held.set(name, [...(held.get(name) ?? []), resume]);
  });
}

export function failpointSync(name: FailpointName, detail: Readonly<Record<string, string>> = {}): void {
  const arm = take(name, detail);
  if (arm === undefined) return;
  for (const listener of listeners) listener({ testBuild: 'hit', name, action: arm.action, detail });
  if (arm.action === 'kill') die();
  if (arm.action === 'error') throw new Error(`failpoint ${name}`);
}

/** Moves every `Date` of this process that is made of the present; monotonic time and timers stay. */
function setWallClockAhead(aheadMs: number): void {
  const now = (): number => MachineDate.now() + aheadMs;
  globalThis.Date = new Proxy(MachineDate, {
    construct: (target, given: unknown[], newTarget) =>
      Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget) as object,
    get: (target, name) => (name === 'now' ? now : (Reflect.get(target, name) as unknown)),
  });
}

function take(name: FailpointName, detail: Readonly<Record<string, string>>): FailpointArm | undefined {
  const arm = armed.get(name);
  if (arm === undefined) return undefined;
  for (const [key, value] of Object.entries(arm.match ?? {})) if (detail[key] !== value) return undefined;
  armed.delete(name);
  return arm;
}

/** The hit must have left the process before a `kill` ends it: the driver counts what really happened. */
function tell(hit: FailpointHit): Promise<void> {
  for (const listener of listeners) listener(hit);
  if (process.send === undefined || !process.connected) return Promise.resolve();
  return new Promise((resolve) => {
    process.send?.(hit, undefined, undefined, () => {
      resolve();
    });
  });
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;) {
    // SIGKILL is on its way; nothing more may happen in this process.
  }
}

if (process.send !== undefined) {
  process.on('message', (message: unknown) => {
    const known = message as TestBuildMessage;
    if (typeof message !== 'object' || message === null || !('testBuild' in message)) return;
    if (known.testBuild === 'arm') armFailpoint(known.arm);
    else if (known.testBuild === 'release') releaseFailpoint(known.name);
    else if (known.testBuild === 'wallClock') setWallClockAhead(known.aheadMs);
    else if (known.testBuild === 'block')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, known.ms);
    else disarmFailpoint(known.name);
  });
}

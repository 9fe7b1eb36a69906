/**
 * One process of the local cluster: started from the command line's own program, with a channel over which
 * the test build is driven and whose end is the child's end, and with its log lines both kept and read.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  TidemarkError,
  isErrorCode,
  must,
  sleep,
  systemClock,
  type FailpointHit,
  type TestBuildMessage,
} from '../base/index.ts';
import type { Watchdog } from './watchdog.ts';

export interface ChildSpec {
  readonly name: string;
  /** Words of the command line after the program. */
  readonly words: readonly string[];
  readonly testBuild: boolean;
  readonly logFile: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** The coded error that the process showed at its end, if it did. */
  readonly error: TidemarkError | undefined;
}

/** What the supervisor hears from a child. */
export interface ChildListener {
  onHit(child: Child, hit: FailpointHit): void;
  onLogLine(child: Child, record: Readonly<Record<string, unknown>>): void;
  /** `expected` is true when the supervisor or a failpoint ended it. */
  onExit(child: Child, exit: ChildExit, expected: boolean): void;
}

/** Longer than the orderly stop of a process may take (src/ops: 10 s). */
const STOP_DEADLINE_MS = 12_000;
const PROGRAM = fileURLToPath(new URL('../cli/main.js', import.meta.url));

export class Child {
  readonly spec: ChildSpec;
  readonly #listener: ChildListener;
  readonly #watchdog: Watchdog;
  #process: ChildProcess | undefined;
  #expected = false;
  #stopped = false;
  #mayDie = false;
  #shown: string[] = [];
  #exited: Promise<void> = Promise.resolve();

  constructor(spec: ChildSpec, { listener, watchdog }: { listener: ChildListener; watchdog: Watchdog }) {
    this.spec = spec;
    this.#listener = listener;
    this.#watchdog = watchdog;
  }

  get name(): string {
    return this.spec.name;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Stopped by {@link suspend} and not resumed yet. */
  get suspended(): boolean {
    return this.#stopped;
  }

  start(): void {
    if (this.#process !== undefined) return;
    const { spec } = this;
    const child = spawn(
      process.execPath,
      [...(spec.testBuild ? ['--conditions=tidemark-test'] : []), PROGRAM, ...spec.words],
      // In a session of its own: Ctrl-C on the terminal reaches `dev` alone, which then ends all in order.
      {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        detached: true,
        env: { ...process.env, ...spec.environment },
      },
    );
    this.#process = child;
    this.#expected = false;
    this.#stopped = false;
    this.#mayDie = false;
    this.#shown = [];
    if (child.pid !== undefined) this.#watchdog.watch(child.pid);
    child.on('message', (message) => {
      if (isHit(message)) this.#listener.onHit(this, message);
    });
    // A message to a child that has just ended is lost with it.
    child.on('error', () => undefined);
    const log = createWriteStream(spec.logFile, { flags: 'a' });
    const stderr = must(child.stderr, 'stderr of a child');
    stderr.pipe(log);
    createInterface({ input: stderr }).on('line', (line) => {
      this.#read(line);
    });
    this.#exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        if (child.pid !== undefined) this.#watchdog.forget(child.pid);
        this.#process = undefined;
        this.#stopped = false;
        resolve();
        const error = shownError(this.#shown, this.name);
        const expected = this.#expected || (this.#mayDie && signal === 'SIGKILL');
        this.#listener.onExit(this, { code, signal, error }, expected);
      });
    });
  }

  /** Resolves when the process has ended and its last lines were read. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Arms, releases or disarms a failpoint. A failpoint armed to kill makes that kill an expected end. */
  send(message: TestBuildMessage): void {
    if (message.testBuild === 'arm' && message.arm.action === 'kill') this.#mayDie = true;
    if (message.testBuild === 'disarm') this.#mayDie = false;
    if (this.#process?.connected === true) this.#process.send(message);
  }

  /** kill -9. */
  kill(): void {
    this.#expected = true;
    this.#process?.kill('SIGKILL');
  }

  suspend(): void {
    if (this.#process === undefined) return;
    this.#stopped = true;
    this.#process.kill('SIGSTOP');
  }

  resume(): void {
    this.#stopped = false;
    this.#process?.kill('SIGCONT');
  }

  /** Ends it in an orderly way; after the deadline by kill -9. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#expected = true;
    this.resume();
    child.kill('SIGTERM');
    const inTime = new AbortController();
    const deadline = sleep(systemClock, STOP_DEADLINE_MS, inTime.signal).then(
      () => child.kill('SIGKILL'),
      () => false,
    );
    await this.#exited;
    inTime.abort(new Error('ended in time'));
    await deadline;
  }

  #read(line: string): void {
    if (!line.startsWith('{')) {
      this.#shown = [...this.#shown.slice(-3), line];
      return;
    }
    const record = parseRecord(line);
    if (record !== undefined) this.#listener.onLogLine(this, record);
  }
}

function isHit(message: unknown): message is FailpointHit {
  return (
    typeof message === 'object' && message !== null && 'testBuild' in message && message.testBuild === 'hit'
  );
}

/** A process killed in the middle of a line leaves half of one: no record. */
function parseRecord(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Reads `error CODE: message`, `why ...`, `next ...` back from what the command line shows. */
function shownError(lines: readonly string[], name: string): TidemarkError | undefined {
  const first = lines.findIndex((line) => line.startsWith('error '));
  const match = /^error ([A-Z_]+): (.*)$/.exec(lines[first] ?? '');
  const code = match?.[1];
  if (!isErrorCode(code)) return undefined;
  const next = lines
    .find((line) => line.startsWith('next '))
    ?.slice('next '.length)
    .trim();
  return new TidemarkError(code, `${name}: ${match?.[2] ?? ''}`, next === undefined ? {} : { next });
}

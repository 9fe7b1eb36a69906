/** Three coordinators and two executors on this machine: starts, finds, restarts and ends them. */
import { join } from 'node:path';
import { TidemarkError, sleep, systemClock, type FailpointHit } from '../base/index.ts';
import { Child, type ChildExit, type ChildListener } from './child.ts';
import { openDoors, type CoordinatorDoors } from './coordinator-doors.ts';
import type { DataFolder } from './data-folder.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

export interface ClusterEvents {
  onHit(child: Child, hit: FailpointHit): void;
  onLogLine(child: Child, record: Readonly<Record<string, unknown>>): void;
  /** A process ended that nobody had ended. It is started again. */
  onCrash(child: Child, exit: ChildExit): void;
}

export interface ClusterOptions {
  readonly folder: DataFolder;
  readonly testBuild: boolean;
  /** Secrets that the job refers to. */
  readonly environment: Readonly<Record<string, string>>;
  /** Client addresses that executors dial, when something stands between them and the coordinators. */
  readonly advertised?: readonly string[];
  readonly events: ClusterEvents;
}

const ANSWER_WITHIN_MS = 30_000;
const PAUSE_MS = 25;
const RESTART_AFTER_MS = 300;
const HOST = '127.0.0.1';

export class LocalCluster implements ChildListener {
  readonly coordinators: readonly Child[];
  readonly executors: readonly Child[];
  readonly endpoints: readonly string[];
  readonly doors: CoordinatorDoors;
  readonly #events: ClusterEvents;
  readonly #watchdog: Watchdog;
  #starting = true;
  #stopping = false;
  #failure: ChildExit | undefined;

  constructor({ folder, testBuild, environment, advertised, events }: ClusterOptions) {
    const { settings } = folder;
    this.#events = events;
    this.#watchdog = startWatchdog();
    this.endpoints = settings.coordinators.map(({ clientPort }) => `${HOST}:${clientPort}`);
    const child = (name: string, words: readonly string[]): Child =>
      new Child(
        { name, words, testBuild, environment, logFile: join(folder.path, 'logs', `${name}.log`) },
        { listener: this, watchdog: this.#watchdog },
      );
    this.coordinators = settings.coordinators.map((ports, index) =>
      child(`c${index + 1}`, [
        'coordinator',
        'start',
        `--data=${join(folder.path, `c${index + 1}`)}`,
        `--peer-listen=${HOST}:${ports.peerPort}`,
        `--client-listen=${HOST}:${ports.clientPort}`,
        ...(advertised === undefined ? [] : [`--client-advertise=${advertised[index]}`]),
        `--http-listen=${HOST}:${ports.httpPort}`,
      ]),
    );
    this.executors = settings.executors.map(({ httpPort }, index) =>
      child(`e${index + 1}`, [
        'executor',
        'start',
        `--name=e${index + 1}`,
        `--endpoints=${(advertised ?? this.endpoints).join(',')}`,
        `--folder=${folder.path}`,
        `--http-listen=${HOST}:${httpPort}`,
      ]),
    );
    this.doors = openDoors(this.endpoints);
  }

  get children(): readonly Child[] {
    return [...this.coordinators, ...this.executors];
  }

  /**
   * Starts all processes and resolves when every coordinator answers; executors dial until they find a
   * leader.
   * @throws TidemarkError the error that a process ended with, `NO_LEADER` when one does not answer.
   */
  async start(): Promise<void> {
    for (const child of this.children) child.start();
    await this.waitUntil('every coordinator answers', async () =>
      (await this.doors.statuses()).every((status) => status !== undefined),
    );
  }

  /** From now on a process that ends by itself is started again and reported as a crash. */
  started(): void {
    this.#starting = false;
  }

  /** Resolves with the leader's child. */
  async leader(): Promise<Child> {
    let found: Child | undefined;
    await this.waitUntil('a coordinator leads', async () => {
      const leader = await this.doors.leader();
      found = leader === undefined ? undefined : this.coordinators[leader.index];
      return found !== undefined;
    });
    if (found === undefined) throw new TidemarkError('NO_LEADER', 'no coordinator leads');
    return found;
  }

  /** Repeats `check` until it holds. */
  async waitUntil(what: string, check: () => Promise<boolean>, withinMs = ANSWER_WITHIN_MS): Promise<void> {
    const started = systemClock.monotonicMs();
    while (!(await check())) {
      this.throwIfFailed();
      if (systemClock.monotonicMs() - started > withinMs) {
        throw new TidemarkError('NO_LEADER', `waited ${withinMs / 1_000} s in vain until ${what}`, {
          next: 'Read the logs in the data folder.',
        });
      }
      await sleep(systemClock, PAUSE_MS);
    }
  }

  /** @throws TidemarkError the error that a process ended with before {@link started}. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw startFailure(this.#failure);
  }

  /** Ends all: executors first, so that they can say goodbye. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.executors.map((child) => child.stop()));
    await Promise.all(this.coordinators.map((child) => child.stop()));
    this.doors.close();
    this.#watchdog.close();
  }

  onHit(child: Child, hit: FailpointHit): void {
    this.#events.onHit(child, hit);
  }

  onLogLine(child: Child, record: Readonly<Record<string, unknown>>): void {
    this.#events.onLogLine(child, record);
  }

  onExit(child: Child, exit: ChildExit, expected: boolean): void {
    if (this.#stopping || expected) return;
    if (this.#starting) {
      this.#failure = exit;
      return;
    }
    this.#events.onCrash(child, exit);
    setTimeout(() => {
      if (!this.#stopping) child.start();
    }, RESTART_AFTER_MS);
  }
}

function startFailure(exit: ChildExit): TidemarkError {
  if (exit.error !== undefined) return exit.error;
  return new TidemarkError(
    'INTERNAL',
    `a process ended at its start (code ${exit.code}, signal ${exit.signal})`,
  );
}

/** `tidemark dev`: a whole cluster with a sample source, watched, disturbed and verified. */
import { sleep, systemClock, type FailpointHit } from '../base/index.ts';
import type { TidemarkClient } from '../client/index.ts';
import { inspectSource, openChangeSource, type ChangeSource } from '../collector/index.ts';
import { JOB_FORMAT } from '../job/index.ts';
import { Background } from './background.ts';
import { bannerLines } from './banner.ts';
import { EventLog, newCounts, runChaos, type ChildHit, type ChildRecord } from './chaos/index.ts';
import type { Child, ChildExit } from './child.ts';
import type { ClusterEvents, LocalCluster } from './cluster.ts';
import type { DevDatabases } from './databases.ts';
import { FreshnessMeter } from './freshness.ts';
import { killLeaderOnce } from './leader-kill.ts';
import { durationOf, type DevOptions } from './options.ts';
import { makeReport, type RunReport } from './run-report.ts';
import { CAPTURED_TABLES, runLoad, SAMPLE_REPORTS, seededRandom, type LoadTotals } from './sample/index.ts';
import { createScreen, type Terminal } from './screen.ts';
import { settle, SETTLE_WITHIN_MS, type Settled } from './settle.ts';
import { openDatabases, startCluster, type Endings, type Started } from './start.ts';
import { watchStopSignals, type StopSignals } from './stop-signals.ts';
import { verifyReports, type Verification } from './verify/index.ts';
import { WindowWatch, WINDOWS_PER_LOOK, type Screen } from './window-watch.ts';

/** The leader is killed once so many windows have merged. */
const WINDOWS_BEFORE_KILL = 3;
/** A process that ends again and again will not get better by waiting: the run goes to its end. */
const CRASHES_MAX = 10;

/**
 * Runs until the duration is over or a signal comes, and resolves with what happened. Everything that it
 * started has then ended.
 * @throws TidemarkError whatever kept the cluster from starting, or ended a part of the run.
 */
export async function runDev(options: DevOptions, { terminal }: { terminal: Terminal }): Promise<RunReport> {
  const stops = watchStopSignals();
  const endings: Endings = [];
  const run = new DevRun(options, createScreen(terminal), stops);
  try {
    return await run.run(endings);
  } finally {
    await endAll(endings);
    stops.close();
  }
}

/**
 * Ends everything, last first. One end that fails keeps no other from being made; the first failure is
 * thrown.
 */
async function endAll(endings: Endings): Promise<void> {
  const failures: unknown[] = [];
  for (const end of endings.toReversed()) await end().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

class DevRun implements ClusterEvents {
  readonly #options: DevOptions;
  readonly #screen: Screen;
  readonly #stops: StopSignals;
  readonly #background: Background;
  readonly #hits = new EventLog<ChildHit>();
  readonly #records = new EventLog<ChildRecord>();
  readonly #crashes: string[] = [];
  readonly #counts = newCounts();
  readonly #writesResumedMs: number[] = [];
  readonly #totals: LoadTotals = { changes: 0, transactions: 0, rolledBack: 0, failed: 0 };
  #merged = 0;
  #firstMergedMs: number | undefined;
  #loadMs = 0;

  constructor(options: DevOptions, screen: Screen, stops: StopSignals) {
    this.#options = options;
    this.#screen = screen;
    this.#stops = stops;
    this.#background = new Background((error) => {
      stops.end(error);
    });
  }

  async run(endings: Endings): Promise<RunReport> {
    const opened = await openDatabases(this.#options, endings, (line) => {
      this.#screen.line(line);
    });
    const load = this.#startLoad(opened.databases);
    this.#screen.line('starting three coordinators and two executors');
    endings.push(load.stop);
    const { chaos } = this.#options;
    const started = { ...opened, ...(await startCluster(opened, { events: this, chaos, endings })) };
    this.#showBanner(started);
    const changes = await openSource(opened.databases);
    endings.push(() => changes.close());
    const meter = new FreshnessMeter({
      source: opened.databases.engines.source,
      reports: opened.databases.engines.reports,
      changes,
      reportCount: SAMPLE_REPORTS.length,
    });
    const watching = this.#watch(started, meter);
    await this.#untilOver(started);
    await load.stop();
    await watching.stopMarkers();
    const outcome =
      this.#options.verify && !this.#stops.interrupted ? await this.#verify(started, meter, changes) : {};
    await watching.stop();
    return makeReport({
      engine: opened.databases.kind,
      seed: this.#options.seed,
      rate: this.#options.rate,
      loadMs: this.#loadMs,
      load: this.#totals,
      freshnessMs: meter.samplesMs,
      writesResumedMs: this.#writesResumedMs,
      firstMergedMs: this.#firstMergedMs,
      mergedWindows: this.#merged,
      crashes: this.#crashes,
      chaos: chaos ? this.#counts : undefined,
      wanted: { verify: this.#options.verify },
      ...outcome,
    });
  }

  onHit(child: Child, hit: FailpointHit): void {
    this.#hits.add({ child, hit });
  }

  onLogLine(child: Child, record: Readonly<Record<string, unknown>>): void {
    this.#records.add({ child, record });
  }

  onCrash(child: Child, exit: ChildExit): void {
    const how = exit.signal === null ? `exit code ${exit.code}` : exit.signal;
    const why = exit.error === undefined ? '' : `: ${exit.error.code} ${exit.error.message}`;
    this.#crashes.push(`${child.name} (${how}${why})`);
    if (this.#crashes.length >= CRASHES_MAX)
      this.#stops.end(new Error('too many processes ended by themselves'));
    this.#screen.line(
      `>>> ${child.name} ended by itself (${how}${why}); started again. See ${child.spec.logFile}`,
    );
  }

  /** The load runs from the start: the first snapshot is taken while rows change. */
  #startLoad(databases: DevDatabases): { readonly stop: () => Promise<void> } {
    const controller = new AbortController();
    const started = systemClock.monotonicMs();
    const load = runLoad(
      {
        source: databases.engines.source,
        seed: this.#options.seed,
        clock: systemClock,
        rate: this.#options.rate,
        signal: controller.signal,
      },
      this.#totals,
    ).finally(() => {
      this.#loadMs = systemClock.monotonicMs() - started;
    });
    this.#background.start('load', load);
    return {
      stop: async () => {
        controller.abort();
        await this.#background.settled('load');
      },
    };
  }

  #showBanner({ folder, databases, cluster }: Started): void {
    const { ephemeral, chaos, rate } = this.#options;
    const lines = bannerLines({
      folder,
      databases,
      endpoints: cluster.endpoints,
      ephemeral,
      chaos,
      rate,
      reportCount: SAMPLE_REPORTS.length,
    });
    for (const line of lines) this.#screen.line(line);
  }

  #watch(
    { folder, client, cluster }: Started,
    meter: FreshnessMeter,
  ): { readonly stopMarkers: () => Promise<void>; readonly stop: () => Promise<void> } {
    const markers = new AbortController();
    const windows = new AbortController();
    this.#background.start('markers', meter.run(markers.signal));
    const watch = new WindowWatch({
      list: () => client.listWindows({ limit: WINDOWS_PER_LOOK }),
      screen: this.#screen,
      freshnessMs: () => meter.samplesMs.at(-1),
      resumed: folder.resumed,
      onMerged: () => {
        this.#onMerged(cluster);
      },
    });
    this.#background.start('windows', watch.run(windows.signal));
    return {
      stopMarkers: async () => {
        markers.abort();
        await this.#background.settled('markers');
      },
      stop: async () => {
        windows.abort();
        await this.#background.ended('windows', 'load', 'markers', 'faults');
      },
    };
  }

  #onMerged(cluster: LocalCluster): void {
    this.#merged += 1;
    this.#firstMergedMs ??= Math.round(performance.now());
    if (this.#merged !== WINDOWS_BEFORE_KILL || this.#options.chaos || this.#stops.signal.aborted) return;
    const killed = killLeaderOnce(cluster, this.#screen).then((ms) => this.#writesResumedMs.push(ms));
    this.#background.start('faults', killed);
  }

  /** Waits for the end of the run's time, and for the fault at hand. */
  async #untilOver({ client, cluster, databases }: Started): Promise<void> {
    const faults = new AbortController();
    if (this.#options.chaos) {
      const chaos = runChaos({
        cluster,
        ask: { sources: () => client.listSources(), executors: () => client.listExecutors() },
        hits: this.#hits,
        records: this.#records,
        reports: databases.engines.reports,
        store: databases.engines.store,
        random: seededRandom(this.#options.seed + 1),
        counts: this.#counts,
        writesResumedMs: this.#writesResumedMs,
        say: (line) => {
          this.#screen.line(line);
        },
        signal: faults.signal,
        interrupted: this.#stops.signal,
      });
      this.#background.start('faults', chaos);
    }
    await untilAborted(this.#stops.signal, durationOf(this.#options));
    faults.abort();
    await this.#background.ended('faults');
    for (const child of cluster.children) {
      child.resume();
      child.start();
    }
  }

  async #verify(
    { client, databases }: { readonly client: TidemarkClient; readonly databases: DevDatabases },
    meter: FreshnessMeter,
    changes: ChangeSource,
  ): Promise<{ settled: Settled; verification: Verification }> {
    this.#screen.line('the load has stopped; waiting for every window to merge');
    const last = await changes.head();
    const included = (): Promise<boolean> => meter.included(last.position);
    const settled = await settle({ client, included, withinMs: SETTLE_WITHIN_MS });
    this.#screen.line('comparing every cell with the source');
    const { source, reports } = databases.engines;
    return { settled, verification: await verifyReports({ source, sink: reports }) };
  }
}

/** The sample's own look at the source's log: where it ends, and what a position includes. */
async function openSource({ engines, kind, addresses }: DevDatabases): Promise<ChangeSource> {
  const tables = await inspectSource(engines.source, {
    tables: CAPTURED_TABLES,
  });
  const database = { embedded: { file: 'source.db' } };
  const window = { lengthMs: 1_000, rowsMax: 1, bytesMax: 1 };
  return openChangeSource({
    source: { format: JOB_FORMAT, name: 'shop', engine: kind, database, tables, window },
    engines: { source: engines.source, sourceAddress: addresses.source },
    clock: systemClock,
  });
}

async function untilAborted(signal: AbortSignal, withinMs: number | undefined): Promise<void> {
  const over = new AbortController();
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
  // Either way the run is over; `over` only ends a timer that is not needed any more.
  const timer =
    withinMs === undefined ? aborted : sleep(systemClock, withinMs, over.signal).catch(() => undefined);
  await Promise.race([aborted, timer]);
  over.abort(new Error('over'));
}

/** What the scheduler keeps while this node leads in one term. A new term begins with a new one. */
import type { Cancel } from '../base/index.ts';
import { LogClock, openPrepare, type StateView } from '../statemachine/index.ts';
import type { Outcome, PlannerMemory, Sent, SinkFailures, SourceFailures } from './planner/types.ts';

const SENT_SLACK = 1_024;

export class Leadership {
  readonly term: number;
  readonly sinceMs: number;
  readonly sent = new Map<string, Sent>();
  readonly sourceFailures = new Map<number, SourceFailures>();
  readonly sinkFailures = new Map<number, SinkFailures>();
  readonly probed = new Map<number, number>();
  firstMissedMs: ReadonlyMap<number, number> = new Map();
  brakeSinceMs: number | undefined;
  outcomes: Outcome[] = [];
  /** What the state knows stands still while nothing is proposed; this goes on. */
  readonly logClock: LogClock;
  wakeUp: Cancel | undefined;
  /** An event has asked for the next round; else only the tick has. */
  woken = false;
  running = false;
  again = false;

  constructor(term: number, monotonicMs: number, logTimeMs: number) {
    this.term = term;
    this.sinceMs = monotonicMs;
    this.logClock = new LogClock(logTimeMs, monotonicMs);
  }

  /** Forgets what was sent under tokens that are not current any more, once there is much of it. */
  forgetSent(view: StateView): void {
    if (this.sent.size < 2 * (view.openTasks.size + 2 * view.sources.size) + SENT_SLACK) return;
    const current = new Set<string>();
    for (const task of view.openTasks.values()) current.add(task.token);
    for (const { epoch } of view.sinks.values()) if (epoch !== null) current.add(epoch);
    for (const source of view.sources.values()) {
      const prepare = openPrepare(source);
      if (prepare !== null) current.add(prepare.token);
      if (source.collector !== null) current.add(source.collector.epoch);
      if (source.drop !== null) current.add(source.drop.token);
      for (const { grant } of source.states ?? []) if (grant !== null) current.add(grant.token);
    }
    for (const { fold, change } of view.reports.values()) {
      if (fold !== null) current.add(fold.token);
      if (change !== null) current.add(change.token);
    }
    for (const token of this.sent.keys()) if (!current.has(token)) this.sent.delete(token);
  }

  memory(): PlannerMemory {
    return {
      term: this.term,
      leaderSinceMs: this.sinceMs,
      sent: this.sent,
      sourceFailures: this.sourceFailures,
      sinkFailures: this.sinkFailures,
      probed: this.probed,
      firstMissedMs: this.firstMissedMs,
      brakeSinceMs: this.brakeSinceMs,
    };
  }
}

import { describe, expect, it } from 'vitest';
import {
  applyEntry,
  decodeEntry,
  MemoryState,
  type ReportRecord,
  type SpanRecord,
  type TaskRecord,
} from '../../src/statemachine/index.ts';
import { randomHistory } from './support/history.ts';

const isOpen = (task: TaskRecord): boolean => task.state === 'ASSIGNED' || task.state === 'PARKED';

/** What must hold of any state, computed from the rows alone: no counter is believed. */
function check(state: MemoryState): void {
  const tasks = [...state.tasks.values()];
  expect([...state.openTasks.values()]).toEqual(tasks.filter(isOpen));
  const assigned = tasks.filter((task) => task.state === 'ASSIGNED');
  for (const executorId of new Set([0, ...tasks.map((task) => task.executorId)])) {
    const has = assigned.filter((task) => task.executorId === executorId);
    expect(state.assignedTo(executorId)).toBe(has.length);
  }
  expect([...state.deadTasks.values()]).toEqual(tasks.filter((task) => task.state === 'DEAD'));
  expect([...state.holeTasks.values()]).toEqual(tasks.filter((task) => task.hole));
  const spans = [...state.spans.values()];
  for (const span of spans) checkSpan(span, tasks);
  expect([...state.openSpans.values()]).toEqual(spans.filter((span) => span.open > 0));
  expect([...state.pendingSpans.values()]).toEqual(spans.filter((span) => span.granted < span.parts));
  for (const report of state.reports.values()) checkReport(state, report, spans);
  for (const source of state.sources.values()) {
    const windows = [...state.windows.values()].filter((window) => window.sourceId === source.id);
    const reports = [...state.reports.values()].filter(
      ({ sourceId, phase }) => sourceId === source.id && phase !== 'retired',
    );
    const merged = reports.map((report) => Math.max(report.mergedWindow, report.baseWindow));
    expect(source.mergedWindow).toBe(Math.min(source.lastWindow, ...merged));
    expect(windows.at(-1)?.to ?? '').toBe(source.position);
    for (const window of windows)
      if (window.window <= source.mergedWindow) expect(window.mergedMs).toBeGreaterThan(0);
  }
  checkTokens(state, tasks);
}

function checkSpan(span: SpanRecord, all: readonly TaskRecord[]): void {
  const tasks = all.filter(
    (task) =>
      task.reportId === span.reportId &&
      task.generation === span.generation &&
      task.firstWindow === span.firstWindow,
  );
  for (const task of tasks) expect(task.lastWindow).toBe(span.lastWindow);
  expect(span.granted).toBe(tasks.length);
  expect(span.open).toBe(tasks.filter(isOpen).length + span.parts - tasks.length);
  expect(span.dead).toBe(tasks.filter((task) => task.state === 'DEAD').length);
  for (const task of tasks) {
    if (task.state === 'DONE') expect(task.hole).toBe(false);
    if (['DEAD', 'SKIPPED', 'CANCELLED'].includes(task.state)) expect(task.hole).toBe(true);
  }
}

/** Spans follow on each other without gap or overlap, and the marks are where the settled ones end. */
function checkReport(state: MemoryState, report: ReportRecord, all: readonly SpanRecord[]): void {
  const spans = all.filter((span) => span.reportId === report.id && span.generation === report.generation);
  let next = report.droppedWindow + 1;
  let mergedWindow = report.droppedWindow;
  let finalWindow = report.droppedWindow;
  for (const span of spans) {
    expect(span.firstWindow).toBe(next);
    next = span.lastWindow + 1;
    if (mergedWindow === span.firstWindow - 1 && span.open === 0) mergedWindow = span.lastWindow;
    if (finalWindow === span.firstWindow - 1 && span.open + span.dead === 0) finalWindow = span.lastWindow;
  }
  expect(report).toMatchObject({ nextWindow: next, mergedWindow, finalWindow });
  const own = [...state.holeTasks.values()].filter(
    (task) => task.reportId === report.id && task.generation === report.generation,
  );
  expect(report.holes).toBe(own.length);
}

/** Every token that is held differs from every other, and none is above the counter. */
function checkTokens(state: MemoryState, tasks: readonly TaskRecord[]): void {
  const tokens = tasks.flatMap((task) => [task.token, ...task.superseded]);
  for (const { change } of state.reports.values()) if (change !== null) tokens.push(change.token);
  for (const source of state.sources.values()) {
    if (source.prepare !== null) tokens.push(source.prepare.token);
    const { prepare } = source.addition ?? {};
    if (prepare !== null && prepare !== undefined) tokens.push(prepare.token);
    if (source.collector !== null) tokens.push(source.collector.epoch);
  }
  for (const sink of state.sinks.values()) if (sink.epoch !== null) tokens.push(sink.epoch);
  expect(new Set(tokens).size).toBe(tokens.length);
  for (const task of tasks) {
    const versions = [task.token, ...task.superseded].map(BigInt);
    expect(versions).toEqual(versions.toSorted((a, b) => (a < b ? 1 : -1)));
  }
  expect(tokens.length).toBeLessThanOrEqual(state.cluster.grants);
}

describe('invariants of the state', () => {
  it('hold all along random histories', () => {
    const seen = new Set<string>();
    for (const seed of [31, 32, 33, 34, 35, 36]) {
      const state = new MemoryState();
      for (const { index, term, data } of randomHistory(seed, 200)) {
        if (data.length > 0) applyEntry(state, decodeEntry(data), { index, term });
        if (index % 5 !== 0) continue;
        check(state);
        for (const task of state.tasks.values()) seen.add(`task ${task.state}`);
        for (const span of state.spans.values())
          seen.add(`span of ${span.lastWindow - span.firstWindow + 1}`);
        for (const { mergedWindow, finalWindow } of state.reports.values()) {
          if (finalWindow > 0) seen.add('FINAL');
          if (mergedWindow > finalWindow) seen.add('MERGED');
        }
      }
    }
    const states = ['ASSIGNED', 'PARKED', 'DONE', 'DEAD', 'SKIPPED'].map((state) => `task ${state}`);
    states.push('MERGED', 'FINAL', 'span of 1', 'span of 2', 'span of 3');
    expect([...seen]).toEqual(expect.arrayContaining(states));
  });
});

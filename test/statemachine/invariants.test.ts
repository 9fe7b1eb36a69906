import { describe, expect, it } from 'vitest';
import {
  applyEntry,
  decodeEntry,
  MemoryState,
  type ReportRecord,
  type TaskRecord,
  type WindowRecord,
} from '../../src/statemachine/index.ts';
import { randomHistory } from './support/history.ts';

const isOpen = (task: TaskRecord): boolean => task.state === 'ASSIGNED' || task.state === 'PARKED';

/** What must hold of any state, computed from the rows alone: no counter is believed. */
function check(state: MemoryState): void {
  const tasks = [...state.tasks.values()];
  for (const window of state.windows.values()) checkWindow(state, window, tasks);
  expect([...state.openTasks.values()]).toEqual(tasks.filter(isOpen));
  expect([...state.deadTasks.values()]).toEqual(tasks.filter((task) => task.state === 'DEAD'));
  expect([...state.pendingWindows.values()]).toEqual(
    [...state.windows.values()].filter((window) => window.tasksGranted < window.tasksTotal),
  );
  for (const report of state.reports.values()) checkReport(state, report);
  for (const source of state.sources.values()) {
    const windows = [...state.windows.values()].filter((window) => window.sourceId === source.id);
    expect(windows.filter((window) => window.state === 'FINAL')).toHaveLength(source.windowsFinal);
    const followed = windows.find((window) => window.window === source.mergedWindow + 1);
    expect(followed?.state ?? 'SEALED').toBe('SEALED');
    expect(source.mergedWindow).toBeLessThanOrEqual(source.lastWindow);
    expect(windows.at(-1)?.to ?? '').toBe(source.position);
  }
  checkTokens(state, tasks);
}

function checkWindow(state: MemoryState, window: WindowRecord, all: readonly TaskRecord[]): void {
  const tasks = all.filter((task) => task.sourceId === window.sourceId && task.firstWindow === window.window);
  const reports = [...state.reports.values()].filter((report) => report.sourceId === window.sourceId);
  expect(window.tasksTotal).toBe(reports.reduce((sum, report) => sum + report.parts, 0));
  expect(window.tasksGranted).toBe(tasks.length);
  const open = tasks.filter(isOpen).length + window.tasksTotal - tasks.length;
  expect(window.tasksOpen).toBe(open);
  const ended = (...states: TaskRecord['state'][]) => tasks.filter((task) => states.includes(task.state));
  const isFinal = open === 0 && ended('DEAD').length === 0;
  expect(window.state).toBe(open > 0 ? 'SEALED' : isFinal ? 'FINAL' : 'MERGED');
  const holes = ended('DEAD', 'SKIPPED', 'CANCELLED').map((task) => task.key);
  // A dead task that is tried again keeps its hole until it is done.
  for (const key of holes) expect(window.holes).toContain(key);
  for (const key of ended('DONE').map((task) => task.key)) expect(window.holes).not.toContain(key);
  expect(new Set(window.holes).size).toBe(window.holes.length);
}

function checkReport(state: MemoryState, report: ReportRecord): void {
  const holes = [...state.windows.values()].flatMap((window) => window.holes);
  const own = holes.filter((key) => key.startsWith(`${report.id}/${report.generation}/`));
  expect(report.holes).toBe(own.length);
}

/** Every token that is held differs from every other, and none is above the counter. */
function checkTokens(state: MemoryState, tasks: readonly TaskRecord[]): void {
  const tokens = tasks.flatMap((task) => [task.token, ...task.superseded]);
  for (const source of state.sources.values()) {
    if (source.prepare !== null) tokens.push(source.prepare.token);
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
        for (const window of state.windows.values()) seen.add(`window ${window.state}`);
      }
    }
    const states = ['ASSIGNED', 'PARKED', 'DONE', 'DEAD', 'SKIPPED'].map((state) => `task ${state}`);
    states.push(...['SEALED', 'MERGED', 'FINAL'].map((state) => `window ${state}`));
    expect([...seen]).toEqual(expect.arrayContaining(states));
  });
});

/**
 * Where the next task goes: to the executor with the smallest share of its room taken, among those that live.
 */
import { LIMITS } from '../../base/index.ts';
import type { StateView } from '../../statemachine/index.ts';
import type { Liveness } from './liveness.ts';

/** How many times an executor's room may be filled when it takes over what others left. */
const TAKEOVER_STRETCH = 2;

interface Room {
  readonly executorId: number;
  readonly tasksMax: number;
  tasks: number;
  collectors: number;
  states: number;
}

export class Placement {
  readonly #rooms: readonly Room[];
  readonly #byId = new Map<number, Room>();

  constructor(view: StateView, liveness: ReadonlyMap<number, Liveness>, tasksPerSlot: number) {
    const rooms: Room[] = [];
    for (const { id, slots } of view.executors.values()) {
      if (liveness.get(id) !== 'live') continue;
      rooms.push({ executorId: id, tasksMax: slots * tasksPerSlot, tasks: 0, collectors: 0, states: 0 });
    }
    this.#rooms = rooms;
    for (const room of rooms) this.#byId.set(room.executorId, room);
    for (const task of view.openTasks.values()) if (task.state === 'ASSIGNED') this.add(task.executorId, 1);
    for (const { collector, states } of view.sources.values()) {
      const room = collector === null ? undefined : this.#byId.get(collector.executorId);
      if (room !== undefined) room.collectors += 1;
      for (const { grant } of states ?? []) {
        const holder = grant === null ? undefined : this.#byId.get(grant.executorId);
        if (holder !== undefined) holder.states += 1;
      }
    }
  }

  /** One of those that live; another one for another `turn`. */
  anyOf(turn: number): number | undefined {
    return this.#rooms[turn % this.#rooms.length]?.executorId;
  }

  isLive(executorId: number): boolean {
    return this.#byId.has(executorId);
  }

  /** Tasks that can be granted before every executor is full. */
  freeTasks(): number {
    return this.#rooms.reduce((sum, room) => sum + Math.max(0, room.tasksMax - room.tasks), 0);
  }

  add(executorId: number, tasks: 1 | -1): void {
    const room = this.#byId.get(executorId);
    if (room !== undefined) room.tasks += tasks;
  }

  /**
   * Takes room for a task, elsewhere than at `avoid` if there is an elsewhere; undefined if all are full. A
   * task that takes over from a version that may hold locks goes beyond the room: what fills it may be
   * waiting for those locks, and the dispatch is what frees them.
   */
  takeForTask(avoid?: number, takesOver = false): number | undefined {
    const stretch = takesOver ? TAKEOVER_STRETCH : 1;
    const free = this.#rooms.filter((room) => room.tasks < room.tasksMax * stretch);
    const room = least(free, avoid, (candidate) => candidate.tasks / candidate.tasksMax);
    if (room !== undefined) room.tasks += 1;
    return room?.executorId;
  }

  /** Takes one of the slots that row states have to themselves; undefined if all are taken. */
  takeForStates(avoid?: number): number | undefined {
    const free = this.#rooms.filter((room) => room.states < LIMITS.statesSlotsPerExecutor);
    const room = least(free, avoid, (candidate) => candidate.states);
    if (room !== undefined) room.states += 1;
    return room?.executorId;
  }

  /** Takes a host for a collector or a prepare: the one with the fewest collectors. Neither takes a slot. */
  takeForCollector(avoid?: number): number | undefined {
    const room = least(
      this.#rooms,
      avoid,
      (candidate) => candidate.collectors + candidate.tasks / (candidate.tasksMax + 1),
    );
    if (room !== undefined) room.collectors += 1;
    return room?.executorId;
  }
}

function least(
  rooms: readonly Room[],
  avoid: number | undefined,
  cost: (room: Room) => number,
): Room | undefined {
  let best: Room | undefined;
  for (const room of rooms) {
    if (room.executorId === avoid) continue;
    if (best === undefined || cost(room) < cost(best)) best = room;
  }
  return best ?? rooms.find((room) => room.executorId === avoid);
}

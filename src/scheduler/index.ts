/** What the leader decides: a pure planner and the loop that proposes and dispatches what it planned. */
export type * from './ports.ts';

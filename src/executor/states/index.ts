/** Row states: what every captured row was as of any window that is kept. */
export { advanceStates, type Advanced, type AdvanceInput } from './advance.ts';
export { createJoinIndexes } from './join-indexes.ts';
export { openRowStates } from './open-row-states.ts';
export { createStateTables, rowKeys } from './state-tables.ts';

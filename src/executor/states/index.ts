/** Row states: what every captured row was as of any window that is kept. */
export { advanceStates, type Advanced, type AdvanceInput } from './advance.ts';
export { dropVersions } from './drop-versions.ts';
export { createJoinIndexes } from './join-indexes.ts';
export { openRowStates } from './open-row-states.ts';
export { heldWindow, readStateMark } from './state-mark.ts';
export { createStateTables, rowKeys } from './state-tables.ts';

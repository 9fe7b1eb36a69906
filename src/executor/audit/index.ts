/** Compares databases with what the leader knows, and changes nothing. */
export type { Difference } from './difference.ts';
export { auditLedger } from './ledger-audit.ts';
export { auditGenerations, auditMarks, auditOwner, type AuditedGeneration } from './marks-audit.ts';
export { auditStates } from './states-audit.ts';

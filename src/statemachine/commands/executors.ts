/**
 * Executors as the log knows them: who registered, under which session. Whether they live is the leader's to
 * judge.
 */
import { LIMITS } from '../../base/index.ts';
import { nextId } from './counters.ts';
import { idKey } from './keys.ts';
import type { ApplyMeta, ExpireExecutor, OperationResult, RegisterExecutor } from './operations.ts';
import type { ExecutorRecord } from './records.ts';
import { accept, refuse } from './result.ts';
import { openSession } from './sessions.ts';
import type { StateWriter } from './writer.ts';

/**
 * Registers an executor. The same incarnation gets its ids again; a new incarnation of a name ends the
 * earlier one, whose work is then granted to others.
 */
export function applyRegisterExecutor(
  writer: StateWriter,
  input: RegisterExecutor,
  meta: ApplyMeta,
): OperationResult {
  if (input.name === '' || input.name.length > LIMITS.nameLengthMax) {
    return refuse('BAD_REQUEST', `an executor name has 1 to ${LIMITS.nameLengthMax} characters`);
  }
  if (input.slots < 1 || input.slots > LIMITS.slotsPerExecutorMax) {
    return refuse('BAD_REQUEST', `an executor has 1 to ${LIMITS.slotsPerExecutorMax} slots`);
  }
  const known = executorByName(writer, input.name);
  if (known?.incarnation === input.incarnation) {
    return accept({ executorId: known.id, sessionId: known.sessionId, replaced: 0 });
  }
  if (known === undefined && writer.executors.size >= LIMITS.executorsMax) {
    return refuse('OVERLOADED', `there are ${LIMITS.executorsMax} executors already`);
  }
  if (known !== undefined) remove(writer, known);
  const sessionId = openSession(writer, `executor/${input.name}`, meta);
  const id = nextId(writer, 'executor');
  writer.executors.put(idKey(id), {
    id,
    sessionId,
    name: input.name,
    incarnation: input.incarnation,
    slots: input.slots,
    version: input.version,
    engines: input.engines,
    registeredMs: meta.logTimeMs,
  });
  return accept({ executorId: id, sessionId, replaced: known?.id ?? 0 });
}

export function applyExpireExecutor(writer: StateWriter, input: ExpireExecutor): OperationResult {
  const executor = writer.executors.get(idKey(input.executorId));
  if (executor === undefined) {
    return refuse('UNKNOWN_EXECUTOR', `executor ${input.executorId} is not known`);
  }
  remove(writer, executor);
  return accept();
}

function remove(writer: StateWriter, executor: ExecutorRecord): void {
  writer.executors.delete(idKey(executor.id));
  writer.sessions.delete(idKey(executor.sessionId));
}

function executorByName(writer: StateWriter, name: string): ExecutorRecord | undefined {
  for (const executor of writer.executors.values()) if (executor.name === name) return executor;
  return undefined;
}

/** Reads a state in a thread of its own, so that what else starts meanwhile is not held up. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { TidemarkError, type ErrorCode } from '../../base/index.ts';
import { readState, type StateParts } from './read-state.ts';

export type LoadAnswer =
  | { readonly parts: StateParts | undefined }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string } };

/** A thread cannot be made from TypeScript: run from source, the state is read where it is wanted. */
const FROM_SOURCE = import.meta.url.endsWith('.ts');

/** Returns and throws as {@link readState}. */
export async function loadState(folder: string): Promise<StateParts | undefined> {
  if (FROM_SOURCE) return readState(folder);
  const thread = new Worker(new URL('./load-thread.js', import.meta.url), { workerData: folder });
  try {
    const [answer] = (await once(thread, 'message')) as [LoadAnswer];
    if ('parts' in answer) return answer.parts;
    throw new TidemarkError(answer.failed.code, answer.failed.message);
  } finally {
    await thread.terminate();
  }
}

/** The thread that reads a state: it is told the folder, answers once and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert, isTidemarkError, must } from '../../base/index.ts';
import { buffersOf, readState } from './read-state.ts';
import type { LoadAnswer } from './load-state.ts';

const port = must(parentPort, 'the thread that loads a state has one that waits for it');
const folder: unknown = workerData;
assert(typeof folder === 'string', 'the thread that loads a state is told its folder');

function answer(path: string): LoadAnswer {
  try {
    return { parts: readState(path) };
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    return { failed: { code: error.code, message: error.message } };
  }
}

const result = answer(folder);
const moved = 'parts' in result && result.parts !== undefined ? buffersOf(result.parts) : [];
port.postMessage(result, moved);

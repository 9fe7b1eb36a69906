/** How damage is told: by the name of the file that it lies in. */
import { TidemarkError, isTidemarkError } from '../base/index.ts';

/** Runs a check of one file. @throws TidemarkError `DATA_CORRUPT` that names it, if the check throws. */
export function within<T>(name: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    throw damaged(name, error.message, error);
  }
}

export function damaged(name: string, text: string, cause?: unknown): TidemarkError {
  return new TidemarkError('DATA_CORRUPT', `the file ${name} is damaged: ${text}`, { cause });
}

/** Says where an error happened, in front of what happened. */
import { TidemarkError } from '../base/index.ts';

/** Returns the same error with `where` before its message. */
export function placed(error: TidemarkError, where: string): TidemarkError {
  const { code, message, next, details } = error;
  return new TidemarkError(code, `${where}: ${message}`, {
    ...(next === undefined ? {} : { next }),
    details,
    cause: error,
  });
}

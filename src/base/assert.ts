/**
 * Assertions are for our own mistakes. They stay on in production and end the process: a node that
 * finds itself in a state it cannot explain must not answer anyone. Bad input from outside is never an
 * assertion; it is a {@link TidemarkError} with a code.
 */

/**
 * Thrown when an invariant of our own code does not hold. Nothing catches it but the process's last handler.
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * Throws an {@link AssertionError} unless `condition` holds. A function as message is only called on failure.
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (condition) return;
  throw new AssertionError(typeof message === 'string' ? message : message());
}

/** Closes a `switch` over a discriminated union: a new variant without a case fails to compile. */
export function assertNever(value: never, what: string): never {
  throw new AssertionError(`${what}: unexpected ${JSON.stringify(value)}`);
}

/** Returns `value`, or throws an {@link AssertionError} when it is missing. */
export function must<T>(value: T | undefined | null, what: string): T {
  assert(value !== undefined && value !== null, () => `missing: ${what}`);
  return value;
}

/** The release's half of `#test-build`: every failpoint is passed by, every rule is in force. */
import type { FailpointName, MutationName } from './test-build-names.ts';

const passed = Promise.resolve();

/** In the test build: holds, fails or kills the process here if a test asked for it. */
export function failpoint(_name: FailpointName, _detail?: Readonly<Record<string, string>>): Promise<void> {
  return passed;
}

/** As {@link failpoint}, where the code cannot wait: it can only kill or throw. */
export function failpointSync(_name: FailpointName, _detail?: Readonly<Record<string, string>>): void {
  // Nothing to do in a release.
}

/** In the test build: whether a test has switched this rule off. */
export function mutated(_name: MutationName): boolean {
  return false;
}

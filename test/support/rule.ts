import { expect, it } from 'vitest';
import { setMutation } from '../../src/base/test-build-active.ts';
import type { MutationName } from '../../src/base/test-build-names.ts';

/**
 * A test of a rule that has a switch: it must hold, and the same test must fail with the rule switched off.
 */
export function rule(name: MutationName, title: string, body: () => void | Promise<void>): void {
  it(title, async () => {
    await body();
  });
  it(`${title} (seen to fail without the rule)`, async () => {
    setMutation(name, true);
    try {
      await expect((async () => body())()).rejects.toThrow();
    } finally {
      setMutation(name, false);
    }
  });
}

import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Test files that mostly wait for processes or databases, longest first. Begun last, one of them would keep
 * the run waiting alone; the order of the others does not matter.
 */
const LONGEST = [
  'test/chaos/chaos.test.ts',
  'test/dev/dev.test.ts',
  'test/dev/chaos.test.ts',
  'test/dev/chaos-mysql.test.ts',
  'test/docs/by-hand.test.ts',
  'test/collector/',
  'test/executor/',
  'test/raft/',
];

const rank = ({ moduleId }: TestSpecification): number => {
  const place = LONGEST.findIndex((part) => moduleId.includes(`/${part}`));
  return place === -1 ? LONGEST.length : place;
};

/** The same order in every run, whatever an earlier run has left in a cache. */
export class LongestFirst extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const byName = (a: TestSpecification, b: TestSpecification): number => (a.moduleId < b.moduleId ? -1 : 1);
    return Promise.resolve([...files].sort((a, b) => rank(a) - rank(b) || byName(a, b)));
  }
}

/**
 * The only face of the test build: named places where a test may hold or kill the process (failpoints),
 * and named rules that a test may switch off to see that it notices (mutations; evidence.md rule 4).
 *
 * In a release both are inert constants. The test build is the same code run with
 * `node --conditions=tidemark-test`, which makes `#test-build` resolve to the active module; that
 * module is not part of the published package.
 */
export { failpoint, failpointSync, mutated } from '#test-build';
export type {
  FailpointAction,
  FailpointArm,
  FailpointHit,
  FailpointName,
  MutationName,
  TestBuildMessage,
} from './test-build-names.ts';

/** The built program, for tests that start real processes. */
import { ask } from './broker.ts';

/** Builds `dist` if it is older than the sources; resolves with the path of the command line's entry. */
export async function builtCli(): Promise<string> {
  return `${await ask({ want: 'build' })}/cli/main.js`;
}

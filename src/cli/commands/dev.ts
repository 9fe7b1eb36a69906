import { runDev } from '../../dev/index.ts';
import type { Run } from '../command.ts';
import type { devOptions } from '../commands.ts';
import type { Values } from '../option.ts';

/** Runs the local cluster. The result at the end is the run's report; progress goes to stderr. */
export const run: Run<Values<typeof devOptions>> = async ({ values, output }) => {
  const report = await runDev(values, { terminal: output.stderr });
  output.result(report.document, () => report.text);
  return report.exitCode;
};

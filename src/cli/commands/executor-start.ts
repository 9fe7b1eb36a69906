import { startExecutor } from '../../executor/index.ts';
import type { Run } from '../command.ts';
import type { executorOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { packageVersion } from '../package-version.ts';
import { clientCredentialsOf } from '../tls.ts';
import { certificateProblem, serve } from './serve.ts';

/** Runs one executor until it is told to stop. */
export const run: Run<Values<typeof executorOptions>> = ({ values, output }) =>
  serve({ role: 'executor', ...values }, async ({ log, shutdown }) => {
    const executor = await startExecutor({
      name: values.name,
      coordinators: values.endpoints,
      slots: values.slots,
      baseFolder: values.folder,
      credentials: clientCredentialsOf(values, { onProblem: certificateProblem(log) }),
      http: values.httpListen,
      log,
      version: await packageVersion(),
    });
    shutdown.add('executor', () => executor.stop());
    output.result({ started: { name: values.name } }, () => `executor ${values.name} started`);
  });

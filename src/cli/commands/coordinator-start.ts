import { startCoordinator } from '../../coordinator/index.ts';
import type { Run } from '../command.ts';
import type { coordinatorOptions } from '../commands.ts';
import type { Values } from '../option.ts';
import { packageVersion } from '../package-version.ts';
import { coordinatorCredentialsOf } from '../tls.ts';
import { certificateProblem, serve } from './serve.ts';

/** Runs one coordinator until it is told to stop. */
export const run: Run<Values<typeof coordinatorOptions>> = ({ values, output }) =>
  serve({ role: 'coordinator', ...values }, async ({ log, shutdown, onFatal }) => {
    const coordinator = await startCoordinator({
      dataFolder: values.data,
      peer: { listen: values.peerListen, advertise: values.peerAdvertise },
      client: { listen: values.clientListen, advertise: values.clientAdvertise },
      http: values.httpListen === undefined ? undefined : { listen: values.httpListen },
      credentials: coordinatorCredentialsOf(values, { onProblem: certificateProblem(log) }),
      log,
      version: await packageVersion(),
      onFatal,
    });
    shutdown.add('coordinator', () => coordinator.stop());
    const { peerAddress, clientAddress, httpAddress } = coordinator;
    output.result(
      { started: { peerAddress, clientAddress, httpAddress: httpAddress ?? null } },
      () => `coordinator started: clients ${clientAddress}, peers ${peerAddress}`,
    );
  });

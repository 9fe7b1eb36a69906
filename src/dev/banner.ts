/** What a person sees first: what runs where, what is kept, and what to type next. */
import type { DataFolder } from './data-folder.ts';
import type { DevDatabases } from './databases.ts';

export interface BannerInput {
  readonly folder: DataFolder;
  readonly databases: DevDatabases;
  readonly endpoints: readonly string[];
  readonly ephemeral: boolean;
  readonly chaos: boolean;
  readonly rate: number;
  readonly reportCount: number;
}

export function bannerLines(input: BannerInput): string[] {
  const { folder, databases, endpoints, ephemeral } = input;
  const { coordinators, executors } = folder.settings;
  const goesOn = folder.resumed ? 'an earlier run goes on' : 'the next run goes on from here';
  const kept = `${folder.path} (${ephemeral ? 'removed at the end' : `kept; ${goesOn}`})`;
  return [
    '',
    'Tidemark: a whole cluster on this machine, for trying it out; not for production',
    '',
    ...coordinators.map(
      (ports, index) =>
        `  coordinator c${index + 1}  clients 127.0.0.1:${ports.clientPort}  peers :${ports.peerPort}  ` +
        `health and metrics http://127.0.0.1:${ports.httpPort}/readyz`,
    ),
    ...executors.map(
      ({ httpPort }, index) =>
        `  executor    e${index + 1}  health and metrics http://127.0.0.1:${httpPort}/readyz`,
    ),
    `  reports         ${databases.shown} (${input.reportCount} views)`,
    `  data            ${kept}`,
    `  logs            ${folder.path}/logs`,
    `  load            ${input.rate} row changes/s${input.chaos ? ', with chaos (test build)' : ''}`,
    '',
    '  in another terminal',
    `    export TIDEMARK_ENDPOINTS=${endpoints.join(',')}`,
    '    npx tidemark cluster status',
    '    npx tidemark window list',
    `    cat ${folder.path}/job.yaml`,
    '',
    '  Ctrl-C ends everything.',
    '',
  ];
}

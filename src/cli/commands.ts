/** Every command with its options. Only data: the code behind each is loaded when it runs. */
import { command, type Command } from './command.ts';
import { OUTPUT_FORMATS } from './output.ts';
import {
  address,
  choice,
  duration,
  flag,
  integer,
  list,
  memberList,
  requiredAddress,
  requiredInteger,
  requiredText,
  text,
} from './option.ts';

const FILE = { placeholder: 'FILE' };
const LOCAL_ENDPOINTS = '127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403';

const output = choice('How the result is written', { choices: OUTPUT_FORMATS, fallback: 'table' });
const config = text('The config file; without it tidemark.yaml if there is one', { placeholder: 'FILE' });
const general = { output, config };

const endpoints = list('Client addresses of the coordinators', { fallback: LOCAL_ENDPOINTS });
const logLevel = choice('Least level of log lines on stderr', {
  choices: ['debug', 'info', 'warn', 'error', 'silent'],
  fallback: 'info',
});
const logFormat = choice('Form of log lines', { choices: ['json', 'text'], fallback: 'json' });
const httpListen = address('Where /livez, /readyz and /metrics are served; not served without it');
const clientTls = {
  clientCa: text('Authority of clients, executors and coordinators that they talk to', FILE),
  clientCert: text('Certificate that this side shows to them', FILE),
  clientKey: text('Key of that certificate', FILE),
};
const peerTls = {
  peerCa: text('Authority of the coordinators among themselves', FILE),
  peerCert: text('Certificate that this coordinator shows to the others', FILE),
  peerKey: text('Key of that certificate', FILE),
};
const remote = { endpoints, ...clientTls, ...general };

const limit = integer('At most this many rows', { min: 1, max: 1_000, fallback: 20 });

export const coordinatorOptions = {
  data: text('Folder of this coordinator alone; made if missing', {
    placeholder: 'FOLDER',
    fallback: './tidemark-coordinator',
  }),
  peerListen: address('Where other coordinators reach this one', '127.0.0.1:7301'),
  clientListen: address('Where clients and executors reach this one', '127.0.0.1:7401'),
  peerAdvertise: address('The peer address that others dial, if it differs'),
  clientAdvertise: address('The client address that others dial, if it differs'),
  ...peerTls,
  ...clientTls,
  httpListen,
  logLevel,
  logFormat,
  ...general,
};

export const executorOptions = {
  name: requiredText('Name of this executor, its own in the cluster', { placeholder: 'NAME' }),
  endpoints,
  slots: integer('Tasks that it runs at a time', { min: 1, max: 64, fallback: 4 }),
  folder: text('Folder that the paths of embedded databases are relative to', {
    placeholder: 'FOLDER',
    fallback: '.',
  }),
  ...clientTls,
  httpListen,
  logLevel,
  logFormat,
  ...general,
};

export const devOptions = {
  data: text('Folder of everything that dev makes', { placeholder: 'FOLDER', fallback: './.tidemark-dev' }),
  ephemeral: flag('Remove the folder at the end'),
  rate: integer('Row changes per second in the sample source', { min: 1, max: 50_000, fallback: 200 }),
  duration: duration('End after this time; without it, run until Ctrl-C (30s with --verify or --chaos)'),
  verify: flag('At the end recompute every report from the source and compare each cell'),
  chaos: flag('Kill, stop and hold processes all the time (test build)'),
  seed: integer('Seed of load and chaos', { min: 0, max: 4_294_967_295, fallback: 1 }),
  mysql: flag('Source, store and reports on MySQL or MariaDB instead of embedded files'),
  mysqlUrl: text('Server to use with --mysql; without it a private one is started', { placeholder: 'URL' }),
  ...general,
};

export const clusterInitOptions = remote;
export const remoteOptions = remote;
const MEMBER_ID_MAX = 1_000_000_000;
export const transferLeaderOptions = {
  to: integer('Member that shall lead; 0: the one whose log is nearest', {
    min: 0,
    max: MEMBER_ID_MAX,
    fallback: 0,
  }),
  ...remote,
};
const member = requiredInteger('Id of the member', { min: 1, max: MEMBER_ID_MAX, positional: 'one' });
const within = duration('How long it may take, for example to send the whole state; 5m without it');
const newMember = {
  peerAddress: requiredAddress('Peer address of the new coordinator, as it advertises it'),
  clientAddress: requiredAddress('Client address of the new coordinator, as it advertises it'),
};
export const clusterAddOptions = {
  ...newMember,
  learner: flag('Leave it a learner: it gets the log and does not vote'),
  within,
  ...remote,
};
export const clusterPromoteOptions = { member, within, ...remote };
export const clusterReplaceOptions = { member, ...newMember, within, ...remote };
export const clusterRemoveOptions = { member, within, ...remote };
export const applyOptions = {
  file: requiredText('The job file', { short: 'f', placeholder: 'FILE' }),
  dryRun: flag('Check the job against cluster and databases, and change nothing'),
  ...remote,
};
export const windowListOptions = {
  source: text('Only windows of this source', { placeholder: 'NAME' }),
  limit,
  ...remote,
};
export const taskListOptions = {
  state: text('Only tasks in this state: pending, ASSIGNED, PARKED, DONE, DEAD, SKIPPED, CANCELLED', {
    placeholder: 'STATE',
  }),
  limit,
  ...remote,
};
export const sourceResnapshotOptions = {
  source: requiredText('The source', { positional: 'one', placeholder: 'NAME' }),
  yes: flag('Needed: all rows of its tables are read again'),
  ...remote,
};
export const taskRetryOptions = {
  tasks: list('Tasks to wake; none means every parked one', { positional: 'many' }),
  ...remote,
};

export const certsCreateOptions = {
  out: requiredText('Folder for the files; made if missing', { placeholder: 'FOLDER' }),
  hosts: list('Hosts of the coordinators, one each, in the order of cluster init', {
    fallback: '127.0.0.1,127.0.0.1,127.0.0.1',
  }),
  firstMember: integer('Id of the first one; above 1 the authorities in the folder sign', {
    min: 1,
    max: 1_000_000_000,
    fallback: 1,
  }),
  days: integer('Days for which they are valid', { min: 1, max: 825, fallback: 90 }),
  ...general,
};
export const kvKeyOptions = {
  key: requiredText('The key', { short: 'k', placeholder: 'KEY' }),
  namespace: text('Namespace of the key', { placeholder: 'NAME', fallback: 'default' }),
  ...remote,
};
export const kvPutOptions = {
  value: requiredText('The value, as text', { short: 'v', placeholder: 'VALUE' }),
  ...kvKeyOptions,
};
export const kvCasOptions = {
  expected: integer('Revision that the key must stand at; 0: it must not exist', {
    min: 0,
    max: 999_999_999_999_999,
    fallback: 0,
  }),
  ...kvPutOptions,
};

const snapshotFile = requiredText('The snapshot file', { positional: 'one', placeholder: 'FILE' });
export const snapshotSaveOptions = {
  file: snapshotFile,
  dataFolder: text('Read this folder of a stopped member instead of asking the cluster', {
    placeholder: 'FOLDER',
  }),
  ...remote,
};
export const snapshotStatusOptions = { file: snapshotFile, ...general };
const restoredMember = {
  peerAddress: address('Where other coordinators will reach the new member', '127.0.0.1:7301'),
  clientAddress: address('Where clients and executors will reach it', '127.0.0.1:7401'),
};
export const clusterRecoverOptions = {
  dataFolder: requiredText('Folder of the member that is left; it stays as it is', { placeholder: 'FOLDER' }),
  into: requiredText('Folder of the new member; empty, or made', { placeholder: 'FOLDER' }),
  peerAddress: address('Where others will reach the new member, if not where they reached the old one'),
  clientAddress: address('Where clients will reach it, if not where they reached the old one'),
  confirmQuorumLost: flag('No majority of the old cluster will ever run again'),
  ...general,
};
export const snapshotRestoreOptions = {
  file: snapshotFile,
  dataFolder: requiredText('Folder of the new member; empty, or made', { placeholder: 'FOLDER' }),
  ...restoredMember,
  members: memberList('All members of the new cluster, this one too, if each is restored from the file'),
  restoreId: text('What the command printed for the first of several members', { placeholder: 'ID' }),
  ...general,
};

export const COMMANDS: readonly Command[] = [
  command({
    path: ['dev'],
    summary: 'Run a whole cluster with a sample source and reports on this machine',
    examples: ['tidemark dev', 'tidemark dev --duration 60s --rate 2000 --chaos --verify'],
    options: devOptions,
    load: async () => (await import('./commands/dev.ts')).run,
  }),
  command({
    path: ['coordinator', 'start'],
    summary: 'Run one coordinator',
    examples: ['tidemark coordinator start --data ./c1'],
    options: coordinatorOptions,
    load: async () => (await import('./commands/coordinator-start.ts')).run,
  }),
  command({
    path: ['cluster', 'init'],
    summary: 'Make a cluster of the running coordinators; once',
    examples: [`tidemark cluster init --endpoints ${LOCAL_ENDPOINTS}`],
    options: clusterInitOptions,
    load: async () => (await import('./commands/cluster-init.ts')).run,
  }),
  command({
    path: ['cluster', 'status'],
    summary: 'Show each endpoint: role, term, leader, log, executors, digest, version',
    options: remoteOptions,
    load: async () => (await import('./commands/cluster-status.ts')).run,
  }),
  command({
    path: ['cluster', 'members'],
    summary: 'Show every member: role, term, log, lag, last contact, disk latency, version',
    options: remoteOptions,
    load: async () => (await import('./commands/cluster-members.ts')).run,
  }),
  command({
    path: ['cluster', 'add'],
    summary: 'Add a coordinator that belongs to no cluster: a learner, and once caught up a voter',
    examples: ['tidemark cluster add --peer-address 127.0.0.1:7304 --client-address 127.0.0.1:7404'],
    options: clusterAddOptions,
    load: async () => (await import('./commands/cluster-add.ts')).run,
  }),
  command({
    path: ['cluster', 'promote'],
    summary: 'Make a learner a voter, once it has caught up',
    examples: ['tidemark cluster promote 4'],
    options: clusterPromoteOptions,
    load: async () => (await import('./commands/cluster-promote.ts')).run,
  }),
  command({
    path: ['cluster', 'replace'],
    summary: 'Put a new coordinator in the place of a member, which may be dead',
    examples: ['tidemark cluster replace 3 --peer-address 127.0.0.1:7304 --client-address 127.0.0.1:7404'],
    options: clusterReplaceOptions,
    load: async () => (await import('./commands/cluster-replace.ts')).run,
  }),
  command({
    path: ['cluster', 'remove'],
    summary: 'Take a member out for ever',
    examples: ['tidemark cluster remove 3'],
    options: clusterRemoveOptions,
    load: async () => (await import('./commands/cluster-remove.ts')).run,
  }),
  command({
    path: ['cluster', 'recover'],
    summary: 'Make a new cluster from one member, after a majority was lost for ever',
    examples: ['tidemark cluster recover --data-folder ./c1 --into ./new --confirm-quorum-lost'],
    options: clusterRecoverOptions,
    load: async () => (await import('./commands/cluster-recover.ts')).run,
  }),
  command({
    path: ['cluster', 'digest'],
    summary: 'Show whether the states of all members are equal',
    options: remoteOptions,
    load: async () => (await import('./commands/cluster-digest.ts')).run,
  }),
  command({
    path: ['cluster', 'transfer-leader'],
    summary: 'Hand the lead to another member',
    examples: ['tidemark cluster transfer-leader --to 2'],
    options: transferLeaderOptions,
    load: async () => (await import('./commands/cluster-transfer-leader.ts')).run,
  }),
  command({
    path: ['snapshot', 'save'],
    summary: 'Save the state of the cluster, or of a stopped member, in a file',
    examples: ['tidemark snapshot save backup.tms', 'tidemark snapshot save backup.tms --data-folder ./c1'],
    options: snapshotSaveOptions,
    load: async () => (await import('./commands/snapshot-save.ts')).run,
  }),
  command({
    path: ['snapshot', 'status'],
    summary: 'Check a snapshot file and show what is in it',
    examples: ['tidemark snapshot status backup.tms'],
    options: snapshotStatusOptions,
    load: async () => (await import('./commands/snapshot-status.ts')).run,
  }),
  command({
    path: ['snapshot', 'restore'],
    summary: 'Make a member of a new cluster from a snapshot file: the only one, or each of several',
    examples: ['tidemark snapshot restore backup.tms --data-folder ./new'],
    options: snapshotRestoreOptions,
    load: async () => (await import('./commands/snapshot-restore.ts')).run,
  }),
  command({
    path: ['certs', 'create'],
    summary: 'Make certificates for development',
    examples: ['tidemark certs create --out ./certs'],
    options: certsCreateOptions,
    load: async () => (await import('./commands/certs-create.ts')).run,
  }),
  command({
    path: ['executor', 'start'],
    summary: 'Run one executor',
    examples: ['tidemark executor start --name e1'],
    options: executorOptions,
    load: async () => (await import('./commands/executor-start.ts')).run,
  }),
  command({
    path: ['executor', 'list'],
    summary: 'Show executors',
    options: remoteOptions,
    load: async () => (await import('./commands/executor-list.ts')).run,
  }),
  command({
    path: ['apply'],
    summary: 'Declare the sources and reports of a job file',
    examples: ['tidemark apply -f job.yaml', 'tidemark apply -f job.yaml --dry-run'],
    options: applyOptions,
    load: async () => (await import('./commands/apply.ts')).run,
  }),
  command({
    path: ['window', 'list'],
    summary: 'Show the newest windows',
    options: windowListOptions,
    load: async () => (await import('./commands/window-list.ts')).run,
  }),
  command({
    path: ['task', 'list'],
    summary: 'Show tasks',
    options: taskListOptions,
    load: async () => (await import('./commands/task-list.ts')).run,
  }),
  command({
    path: ['task', 'retry'],
    summary: 'Wake parked tasks',
    options: taskRetryOptions,
    load: async () => (await import('./commands/task-retry.ts')).run,
  }),
  command({
    path: ['report', 'list'],
    summary: 'Show reports and how far they are merged',
    options: remoteOptions,
    load: async () => (await import('./commands/report-list.ts')).run,
  }),
  command({
    path: ['source', 'list'],
    summary: 'Show sources, their collectors and positions',
    options: remoteOptions,
    load: async () => (await import('./commands/source-list.ts')).run,
  }),
  command({
    path: ['source', 'resnapshot'],
    summary: 'Read the tables of a source again whose log cannot be read on',
    examples: ['tidemark source resnapshot shop --yes'],
    options: sourceResnapshotOptions,
    load: async () => (await import('./commands/source-resnapshot.ts')).run,
  }),
  command({
    path: ['audit'],
    summary: 'Compare the log with report databases and row states; exit code 1 if they differ, 2 if unknown',
    options: remoteOptions,
    load: async () => (await import('./commands/audit.ts')).run,
  }),
  command({
    path: ['kv', 'get'],
    summary: 'Show the value of a key',
    examples: ['tidemark kv get --key greeting'],
    options: kvKeyOptions,
    load: async () => (await import('./commands/kv-get.ts')).run,
  }),
  command({
    path: ['kv', 'put'],
    summary: 'Write a key',
    examples: ['tidemark kv put --key greeting --value hello'],
    options: kvPutOptions,
    load: async () => (await import('./commands/kv-put.ts')).run,
  }),
  command({
    path: ['kv', 'cas'],
    summary: 'Write a key if it stands at the expected revision',
    examples: ['tidemark kv cas --key greeting --value hello --expected 0'],
    options: kvCasOptions,
    load: async () => (await import('./commands/kv-cas.ts')).run,
  }),
  command({
    path: ['kv', 'delete'],
    summary: 'Delete a key',
    examples: ['tidemark kv delete --key greeting'],
    options: kvKeyOptions,
    load: async () => (await import('./commands/kv-delete.ts')).run,
  }),
];

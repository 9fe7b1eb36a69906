/**
 * The built program as it is typed: help, versions, wrong input; each wrong input ends in one coded error.
 */
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERRORS, type ErrorCode } from '../../src/base/index.ts';
import { runCli, type CliResult } from './run-cli.ts';

function expectError(result: CliResult, code: ErrorCode, message: RegExp): void {
  const [why = '', next = ''] = result.stderr.trimEnd().split('\n').slice(-2);
  expect(result.stderr).toMatch(new RegExp(`^error ${code}: `));
  expect(result.stderr).toMatch(message);
  expect(why).toBe(`why   ${ERRORS[code].meaning}`);
  expect(next).toMatch(/^next {2}\S/);
  expect(result.code).toBe(ERRORS[code].exit);
  expect(result.stdout).toBe('');
}

describe('the command line', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-cli-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('shows help and version on stdout', async () => {
    const [help, verbs, command, version] = await Promise.all([
      runCli(['--help']),
      runCli(['cluster', '--help']),
      runCli(['executor', 'start', '--help']),
      runCli(['--version']),
    ]);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('tidemark coordinator');
    expect(verbs.stdout).toContain('tidemark cluster status');
    expect(command.stdout).toMatch(/--slots +.*\(NUMBER\) \[default: 4\] \[TIDEMARK_SLOTS\]/s);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [['clustr'], /Did you mean cluster\?/],
    [['cluster'], /a verb is missing after cluster: init, status/],
    [[], /a command is missing/],
    [['dev', '--rat', '5'], /Unknown argument: rat; did you mean --rate\?/],
    [['executor', 'start'], /--name is missing/],
    [['apply'], /--file is missing/],
  ])('refuses %j', async (words, message) => {
    expectError(await runCli(words, { cwd: folder }), 'USAGE', message);
  });

  it('tells errors to programs too', async () => {
    const { code, stderr } = await runCli(['dev', '--rate', 'fast', '--output', 'json'], { cwd: folder });
    expect(code).toBe(ERRORS.CONFIG_INVALID.exit);
    expect(JSON.parse(stderr)).toMatchObject({ format: 1, error: { code: 'CONFIG_INVALID' } });
  });

  it('refuses a job file that is missing, no YAML, or not of the schema, without a cluster', async () => {
    const [noYaml, wrong] = [join(folder, 'no.yaml'), join(folder, 'wrong.yaml')];
    await writeFile(noYaml, 'reports: [');
    await writeFile(wrong, 'version: 1\njob: j\nsources: {}\nstores: {}\ndatabases: {}\nreport: {}\n');
    expectError(await runCli(['apply', '-f', join(folder, 'none.yaml')]), 'FILE_UNREADABLE', /none\.yaml/);
    expectError(await runCli(['apply', '-f', noYaml]), 'JOB_SYNTAX', /no\.yaml: /);
    expectError(await runCli(['apply', '-f', wrong]), 'JOB_INVALID', /6:1.*report/s);
  });

  it('says what it found when no coordinator answers', async () => {
    const endpoints = '--endpoints=127.0.0.1:1,127.0.0.1:2';
    const list = await runCli(['task', 'list', endpoints]);
    expect(list.code).toBe(ERRORS.NO_LEADER.exit);
    expect(list.stderr).toMatch(/^error NO_LEADER: [^]*127\.0\.0\.1:1 [^]*127\.0\.0\.1:2 /);
    const status = await runCli(['cluster', 'status', endpoints]);
    expect(status.code).toBe(ERRORS.NO_LEADER.exit);
    expect(status.stdout).toMatch(/127\.0\.0\.1:2 +- +NO_LEADER/);
  });

  it('refuses to start a coordinator on a port in use, and leaves nothing listening', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const words = ['coordinator', 'start', `--data=${join(folder, 'c')}`, '--peer-listen=127.0.0.1:0'];
    const result = await runCli([...words, `--client-listen=127.0.0.1:${port}`]);
    server.close();
    expectError(result, 'PORT_IN_USE', new RegExp(`127\\.0\\.0\\.1:${port}`));
  });

  it('refuses dev on a folder that is damaged or of another version, and changes nothing', async () => {
    const kept = join(folder, 'kept');
    const words = [
      'dev',
      '--duration=1s',
      `--data=${kept}`,
      '--mysql',
      '--mysql-url=mysql://nobody@127.0.0.1:1',
    ];
    expectError(await runCli(words), 'DB_UNREACHABLE', /127\.0\.0\.1:1/);
    const file = join(kept, 'dev.json');
    expectError(await runCli(['dev', `--data=${kept}`]), 'CONFIG_INVALID', /holds a run on mysql databases/);
    await truncate(file, 20);
    const before = await readdir(kept);
    expectError(await runCli(words), 'DATA_CORRUPT', /dev\.json/);
    await writeFile(file, '{"format": 9}');
    expectError(await runCli(words), 'FORMAT_UNKNOWN', /another version/);
    expect(await readdir(kept)).toEqual(before);
  });
});

import type { TidemarkClient } from '../../src/client/index.ts';

const SHOWN = 40;

/** What a cluster's lists say, a line each: for the text of a test that has waited in vain. */
export async function listsAsText(client: TidemarkClient): Promise<string> {
  const [sources, reports, windows, tasks] = [
    await client.listSources(),
    await client.listReports(),
    await client.listWindows({ limit: SHOWN }),
    await client.listTasks({ limit: SHOWN }),
  ];
  const text = (row: object): string =>
    JSON.stringify(row, (_name, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  const family = (name: string, rows: readonly object[]): string[] =>
    rows.map((row) => `${name} ${text(row)}`);
  return [
    ...family('source', sources),
    ...family('report', reports),
    ...family('window', windows),
    ...family('task', tasks),
  ].join('\n');
}

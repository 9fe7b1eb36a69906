import type { TidemarkClient } from '../../src/client/index.ts';

/** What an audit says that is not as it should be, or was not compared. */
export async function differences(client: TidemarkClient): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, errorCode, errorMessage, ...piece } of client.audit()) {
    found.push(
      ...piece.differences.map(
        ({ code, report, generation, firstWindow, log, database }) =>
          `${code} ${report}/${generation} from window ${firstWindow}: ${log}; ${database}`,
      ),
    );
    if (errorCode !== '') found.push(`${name}: ${errorCode} ${errorMessage}`);
  }
  return found;
}

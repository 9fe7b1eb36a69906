// The comparison of everything while the load is quiet: in the middle of a run, so that what is wrong for a
// while and heals is seen too, and at its end.
import { settle } from '../../dist/dev/settle.js';
import { compareCells, compareStates } from './oracle.mjs';

const SETTLE_WITHIN_MS = 120_000;

/** Waits until every change is merged, then compares cells and row states; `problems` are what is wrong. */
export async function compareAll(world) {
  const { client, servers, job } = world;
  const settled = await settle({ client, included: await included(world), withinMs: SETTLE_WITHIN_MS });
  const [{ sourceId }] = await client.listSources();
  const source = servers.source.rootUrl;
  const reports = servers.reports.primary.rootUrl;
  const cells = await compareCells({ source, reports, definitions: job.reports });
  const stores = servers.stores.map(({ primary }) => primary.rootUrl);
  const states = await compareStates({ source, stores, sourceId });
  const problems = [...(settled.ok ? [] : settled.problems), ...cells.wrong, ...states.wrong];
  return { problems, cells, states };
}

/** Whether watermarks and row states are where the log of the source ends now. */
async function included({ source, servers, client }) {
  const [[end]] = await source.query('SELECT @@gtid_binlog_pos AS position');
  const goal = Number(end.position.split('-')[2]);
  return async () => {
    const rows = await servers.reports.primary.query(
      'SELECT position_text AS position FROM chaos.tm_watermark',
    );
    const behind = await client.listSources();
    return (
      rows.length > 0 &&
      rows.every(({ position }) => Number(position.split('-')[2] ?? 0) >= goal) &&
      behind.every(({ lastWindow, states }) => states.every(({ window }) => window === lastWindow))
    );
  };
}

/** What a chaos run counts of the events without which it proves nothing (evidence rule 3): only what was. */
import { describe, expect, it } from 'vitest';

interface Events {
  collectorTakenOver(name: string, detail: Readonly<Record<string, string>>): void;
  leaderChanged(assigned: number): void;
  missing(): readonly string[];
}

const made = async (): Promise<Events> => {
  const url = new URL('../../scripts/chaos/events.mjs', import.meta.url).href;
  const { Events: Made } = (await import(url)) as { readonly Events: new () => Events };
  return new Made();
};

describe('events of a chaos run', () => {
  it('count a takeover only if rows were read and not sealed', async () => {
    const events = await made();
    events.collectorTakenOver('collector.afterSeal', { rows: '9' });
    events.collectorTakenOver('collector.beforeSeal', { rows: '0' });
    events.collectorTakenOver('collector.beforeStoreCommit', { epoch: '7' });
    expect(events.missing()).toContain('collector takeovers with unsealed rows');
    events.collectorTakenOver('collector.beforeSeal', { rows: '1' });
    expect(events.missing()).not.toContain('collector takeovers with unsealed rows');
  });

  it('count a change of leader only if tasks were assigned', async () => {
    const events = await made();
    events.leaderChanged(0);
    expect(events.missing()).toContain('leader changes with tasks in flight');
    events.leaderChanged(2);
    expect(events.missing()).not.toContain('leader changes with tasks in flight');
  });
});

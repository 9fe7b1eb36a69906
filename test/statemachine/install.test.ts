import { describe, expect, it } from 'vitest';
import { isTidemarkError } from '../../src/base/index.ts';
import { applyRest, open, temporaryFolder } from './support/folder.ts';
import { randomHistory } from './support/history.ts';

const history = randomHistory(23, 120);
const early = history.slice(0, 40);

async function chunksOf(chunks: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const list: Uint8Array[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return list;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

describe('a snapshot that takes the place of an older state', () => {
  it('is the whole state, also after a restart, and says so until something is applied [R38]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, history, 5);
    const snapshot = await source.snapshots.read();
    const folder = await temporaryFolder();
    let behind = await open(folder);
    await applyRest(behind, early, 5);

    const prepared = await behind.snapshots.prepare(snapshot.chunks);
    expect(behind.appliedIndex).toBe(early.at(-1)?.index);
    await prepared.install();
    expect(behind.appliedIndex).toBe(snapshot.index);
    expect(behind.view().digest).toBe(source.view().digest);
    await behind.close();

    behind = await open(folder);
    expect(behind.view().digest).toBe(source.view().digest);
    expect(behind.snapshots.installed).toEqual({ index: snapshot.index, term: snapshot.term });
    await behind.apply([{ index: snapshot.index + 1, term: snapshot.term, data: new Uint8Array(0) }]);
    expect(behind.snapshots.installed).toBeUndefined();
    await behind.close();
    await source.close();
  });

  it('that is damaged or cut off changes nothing [R40 R44]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, history, 5);
    const chunks = await chunksOf((await source.snapshots.read()).chunks);
    const behind = await open(await temporaryFolder());
    await applyRest(behind, early, 5);
    const { digest } = behind.view();
    const flipped = chunks.map((chunk, at) => (at === 1 ? chunk.map((byte) => byte ^ 1) : chunk));
    for (const bad of [flipped, chunks.slice(0, -1), chunks.slice(1)]) {
      const failed = await behind.snapshots.prepare(stream(bad)).catch((error: unknown) => error);
      expect(isTidemarkError(failed)).toBe(true);
    }
    expect(behind.view().digest).toBe(digest);
    expect(behind.appliedIndex).toBe(early.at(-1)?.index);
    await behind.close();
    await source.close();
  });

  it('is a cut: what is applied while it is read is not in it [R38]', async () => {
    const source = await open(await temporaryFolder());
    await applyRest(source, early, 5);
    const before = source.view().digest;
    const snapshot = await source.snapshots.read();
    await applyRest(source, history, 5);
    const other = await open(await temporaryFolder());
    await (await other.snapshots.prepare(snapshot.chunks)).install();
    expect(other.view().digest).toBe(before);
    expect(await source.snapshots.flush()).toBe(source.appliedIndex);
    await other.close();
    await source.close();
  });
});

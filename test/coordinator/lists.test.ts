import { expect, it } from 'vitest';
import { listSources } from '../../src/coordinator/clients/lists.ts';
import { runningWorld } from '../statemachine/support/world.ts';

it('shows a window that cannot be captured again for as long as somebody may read it', () => {
  const world = runningWorld();
  world.seal();
  world.accept({ type: 'window.lost', v: 1, sourceId: 1, firstWindow: 1, lastWindow: 1 });
  world.seal();
  expect(listSources(world.state)).toMatchObject([
    { state: 'running', problem: expect.stringMatching(/^WINDOW_LOST: window 1/) as string },
  ]);
});

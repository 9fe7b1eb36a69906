import { createServer, connect, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { must, systemClock, type Clock } from '../../../src/base/index.ts';
import { Ticker } from '../../../src/raft/driver/ticker.ts';

const TICK_MS = 50;

/** Holds the event loop, as long work or a stopped process does. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('what waits in a socket is read before the tick that is due after a stall [R18]', async () => {
  const order: string[] = [];
  const server = createServer((socket) => socket.on('data', () => order.push('heartbeat')));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const accepted = new Promise((resolve) => server.once('connection', resolve));
  const sender = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await accepted;
  await new Promise<void>((resolve) => {
    const ticker = new Ticker({
      clock: systemClock,
      tickMs: TICK_MS,
      stallMs: 4 * TICK_MS,
      laterTurn: (run) => void setImmediate(run),
      onStall: () => order.push('stalled'),
      onTick: () => {
        order.push('tick');
        ticker.stop();
        resolve();
      },
    });
    ticker.start();
    sender.write('heartbeat');
    block(6 * TICK_MS);
  });
  expect(order).toEqual(['heartbeat', 'stalled', 'tick']);
  sender.destroy();
  server.close();
});

test('however long the stall was, it is one tick [R18 R60]', () => {
  let nowMs = 0;
  const due: (() => void)[] = [];
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => 0,
    after: (_ms, run) => {
      due.push(run);
      return () => undefined;
    },
  };
  const told: string[] = [];
  const ticker = new Ticker({
    clock,
    tickMs: TICK_MS,
    stallMs: 4 * TICK_MS,
    laterTurn: (run) => {
      run();
    },
    onStall: (gapMs) => told.push(`stalled ${gapMs}`),
    onTick: () => told.push('tick'),
  });
  ticker.start();
  for (const ms of [TICK_MS, 5_000, TICK_MS]) {
    nowMs += ms;
    expect(ticker.stalled).toBe(ms === 5_000);
    must(due.shift(), 'a timer')();
    expect(ticker.stalled).toBe(false);
  }
  expect(told).toEqual(['tick', 'stalled 5000', 'tick', 'tick']);
});

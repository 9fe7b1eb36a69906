import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, test } from 'vitest';
import { AssertionError, LIMITS, TidemarkError } from '../../src/base/index.ts';
import { guardStream, toServiceError, type GuardedStream } from '../../src/wire/index.ts';

/** Either end of a stream of grpc-js, without a network. */
class StreamEnd extends EventEmitter {
  readonly written: string[] = [];
  writableLength = 0;
  writableNeedDrain = false;
  readonly destroyed = false;
  ended = 0;

  write(message: string): boolean {
    this.written.push(message);
    return true;
  }

  end(): void {
    this.ended += 1;
  }
}

class ClientEnd extends StreamEnd {
  cancelled = 0;

  cancel(): void {
    this.cancelled += 1;
  }
}

let heard: string[];
let closed: (TidemarkError | undefined)[];

beforeEach(() => {
  heard = [];
  closed = [];
});

const guard = (stream: StreamEnd): GuardedStream<string> =>
  guardStream<string, string>(stream, {
    onMessage: (message) => {
      if (message === 'bad') throw new TidemarkError('BAD_REQUEST', 'not understood');
      if (message === 'impossible') throw new AssertionError('broken');
      heard.push(message);
    },
    onClosed: (error) => closed.push(error),
  });

describe('a guarded stream', () => {
  test('takes an error that would end the process, and tells it once with whatever follows', () => {
    const stream = new StreamEnd();
    const guarded = guard(stream);
    stream.emit('error', toServiceError(new TidemarkError('CLUSTER_MISMATCH', 'another cluster')));
    stream.emit('error', new Error('again'));
    for (const event of ['end', 'cancelled', 'close']) stream.emit(event);
    stream.emit('data', 'late');
    guarded.write('late');
    expect(closed.map((error) => error?.code)).toEqual(['CLUSTER_MISMATCH']);
    expect([guarded.closed, heard, stream.written]).toEqual([true, [], []]);
  });

  test('answers the other side ending it by ending too', () => {
    const stream = new StreamEnd();
    guard(stream);
    stream.emit('data', 'one');
    stream.emit('end');
    expect([heard, closed, stream.ended]).toEqual([['one'], [undefined], 1]);
  });

  test('that this side ends tells nothing more', () => {
    const stream = new StreamEnd();
    guard(stream).end();
    stream.emit('data', 'late');
    stream.emit('end');
    expect([heard, closed]).toEqual([[], []]);
  });

  test('a message that is refused ends it: a server answers with the status, a client cancels', () => {
    const server = new StreamEnd();
    guard(server);
    let answered: unknown;
    server.on('error', (error: unknown) => {
      answered = error;
    });
    server.emit('data', 'bad');
    expect(answered).toMatchObject({ code: 3 });
    const client = new ClientEnd();
    guard(client);
    client.emit('data', 'bad');
    expect(client.cancelled).toBe(1);
    expect(closed.map((error) => error?.code)).toEqual(['BAD_REQUEST', 'BAD_REQUEST']);
  });

  test('a broken invariant is not told to the other side; it goes to the process', () => {
    const stream = new StreamEnd();
    guard(stream);
    expect(() => stream.emit('data', 'impossible')).toThrow(AssertionError);
    expect(closed).toEqual([]);
  });

  test('that is not read is ended with OVERLOADED instead of buffering for ever', () => {
    const stream = new ClientEnd();
    const guarded = guard(stream);
    stream.writableLength = LIMITS.clientOutstandingMax - 1;
    guarded.write('fits');
    stream.writableLength += 1;
    guarded.write('too much');
    expect(stream.written).toEqual(['fits']);
    expect([closed.map((error) => error?.code), stream.cancelled]).toEqual([['OVERLOADED'], 1]);
  });

  test('says when the other side has taken what was queued, or never will', async () => {
    const stream = new StreamEnd();
    const guarded = guard(stream);
    await guarded.drained();
    stream.writableNeedDrain = true;
    let drained = 0;
    const waits = [guarded.drained().then(() => (drained += 1))];
    await Promise.resolve();
    expect(drained).toBe(0);
    stream.emit('drain');
    await Promise.all(waits);
    const last = guarded.drained();
    stream.emit('close');
    await last;
  });
});

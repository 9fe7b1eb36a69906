import { describe, expect, test } from 'vitest';
import { TOKEN_MAX, asToken, encode, decode, makeToken, parseToken, term } from '../../src/base/index.ts';
import { ExecutorHeartbeat, SealRequest, StartCollector, Task, TaskInfo } from '../../src/wire/index.ts';

/** Each is rounded by a JavaScript number. */
const TOKENS = [2n ** 53n + 1n, makeToken({ term: term(2 ** 23 - 1), n: 2 ** 40 - 1 }), TOKEN_MAX];

describe('tokens above 2^53', () => {
  test.each(TOKENS)('%s stays exact on the wire, in every message that carries one', (token) => {
    const task = Task.create({ token, sinkEpoch: token, prepared: token, superseded: [token, token - 1n] });
    expect(Task.decode(Task.encode(task).finish())).toEqual(task);
    const collector = StartCollector.create({ epoch: token });
    expect(StartCollector.decode(StartCollector.encode(collector).finish())).toEqual(collector);
    const seal = SealRequest.create({ window: { epoch: token } });
    expect(SealRequest.decode(SealRequest.encode(seal).finish())).toEqual(seal);
    const beat = ExecutorHeartbeat.create({ tasks: [{ token }] });
    expect(ExecutorHeartbeat.decode(ExecutorHeartbeat.encode(beat).finish())).toEqual(beat);
  });

  test.each(TOKENS)('%s is a decimal string in JSON and in the log, and comes back exact', (token) => {
    const json = JSON.stringify(TaskInfo.toJSON(TaskInfo.create({ token })));
    expect(json).toContain(`"${token}"`);
    expect(TaskInfo.fromJSON(JSON.parse(json))).toMatchObject({ token });
    const stored = decode(1, encode(1, { token: token.toString() }), 'a record') as {
      readonly token: string;
    };
    expect(parseToken(stored.token)).toBe(asToken(token));
  });
});

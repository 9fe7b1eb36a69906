import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, TidemarkError, type ErrorCode } from '../../src/base/index.ts';
import { fromServiceError, toServiceError } from '../../src/wire/index.ts';

const across = (error: unknown): TidemarkError => fromServiceError(toServiceError(error));

describe('a coded error across the wire', () => {
  test('keeps code, text, next step and details, whatever characters they hold', () => {
    const codes = Object.keys(ERRORS) as ErrorCode[];
    fc.assert(
      fc.property(
        fc.constantFrom(...codes),
        fc.string({ unit: 'grapheme', maxLength: 60 }),
        fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }), { nil: undefined }),
        fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ unit: 'grapheme', maxLength: 20 })),
        (code, message, next, details) => {
          const error = new TidemarkError(code, message, {
            ...(next === undefined ? {} : { next }),
            details,
          });
          expect(across(error)).toMatchObject({ code, message, next, details });
        },
      ),
      { numRuns: 300 },
    );
  });

  test('carries the gRPC status of its row, and the address of the leader', () => {
    const error = new TidemarkError('NOT_LEADER', 'not me', { details: { leader: '[::1]:7400' } });
    const sent = toServiceError(error);
    expect(sent.code).toBe(ERRORS.NOT_LEADER.grpc);
    expect((sent.metadata as Metadata).get('tidemark-leader')).toEqual(['[::1]:7400']);
  });

  test('that is not coded becomes INTERNAL; a text that is too long is cut, not lost', () => {
    expect(across(new Error('boom'))).toMatchObject({ code: 'INTERNAL', message: 'boom' });
    const long = across(new TidemarkError('JOB_INVALID', 'x'.repeat(100_000)));
    expect(long.code).toBe('JOB_INVALID');
    expect(long.message).toMatch(/^x{8000} \.\.\. \(92000 more characters\)$/);
  });
});

describe('a failure of the connection', () => {
  const failure = (code: number, details: string): Error =>
    Object.assign(new Error(details), { code, details, metadata: new Metadata() });

  test.each([
    [14, 'No connection established. Last error: ECONNREFUSED', 'NO_LEADER'],
    [14, 'Connection dropped', 'OUTCOME_UNKNOWN'],
    [4, 'Deadline exceeded', 'OUTCOME_UNKNOWN'],
    [1, 'Call cancelled', 'OUTCOME_UNKNOWN'],
    [8, 'Received message larger than max', 'MESSAGE_TOO_LARGE'],
    [12, 'The server does not implement the method', 'BAD_REQUEST'],
  ])('%i (%s) is %s', (code, details, expected) => {
    expect(fromServiceError(failure(code, details)).code).toBe(expected);
  });
});

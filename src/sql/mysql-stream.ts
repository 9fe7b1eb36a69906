/**
 * Reads a SELECT's result piece by piece: the socket is paused while somebody works on a piece, so that
 * neither here nor in the kernel more than a piece of it waits.
 */
import type mysql from 'mysql2';
import type { FieldPacket } from 'mysql2';
import { LIMITS } from '../base/index.ts';
import { readResult } from './mysql-results.ts';
import type { Taker } from './taker.ts';

export interface PieceOptions {
  readonly pieceRows: number;
  /** How long the server may say nothing while it is waited for, in milliseconds. */
  readonly silenceMs: number;
  readonly taker: Taker;
  /** Is given what fails the reading from outside. */
  readonly onStart: (fail: (error: Error) => void) => void;
}

/**
 * Resolves to true when everything was taken, to false when the taker wanted no more: rows may still be on
 * their way then, and the connection is of no use any more.
 */
export function readPieces(
  native: mysql.Connection,
  text: string,
  { pieceRows, silenceMs, taker, onStart }: PieceOptions,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let rows: unknown[] = [];
    let fields: FieldPacket[] = [];
    let silence: NodeJS.Timeout | undefined;
    let taking: Promise<boolean> = Promise.resolve(true);
    const listen = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        fail(new Error(`the server did not answer within ${silenceMs} ms`));
        native.destroy();
      }, silenceMs);
    };
    const fail = (error: unknown): void => {
      clearTimeout(silence);
      reject(error);
    };
    const hand = (): Promise<boolean> => {
      const piece = rows;
      rows = [];
      return taker.take(
        readResult(piece as Parameters<typeof readResult>[0], fields, LIMITS.sqlRowsPerFetchMax),
      );
    };
    const whileTaking = async (): Promise<boolean> => {
      clearTimeout(silence);
      native.pause();
      const more = await hand();
      if (!more) resolve(false);
      else {
        listen();
        native.resume();
      }
      return more;
    };
    const atEnd = async (): Promise<void> => {
      clearTimeout(silence);
      if (await taking) resolve(await hand());
    };
    onStart(fail);
    listen();
    const query = native.query({ sql: text, values: null, rowsAsArray: true });
    query.on('fields', (found: FieldPacket[]) => {
      fields = found;
    });
    query.on('result', (row: unknown) => {
      rows.push(row);
      if (rows.length < pieceRows) return;
      taking = whileTaking();
      taking.catch(fail);
    });
    query.on('error', fail);
    query.on('end', () => {
      atEnd().catch(fail);
    });
  });
}

/** Looks of audits that one executor has under way: each is told piece by piece, the last piece ends it. */
import { LIMITS, TidemarkError } from '../../base/index.ts';
import type { AuditFound } from '../../wire/index.ts';

interface Look {
  readonly onPiece: (piece: AuditFound) => void;
  readonly settle: (error?: TidemarkError) => void;
  timer: NodeJS.Timeout;
}

export class AuditLooks {
  readonly #executor: string;
  readonly #looks = new Map<bigint, Look>();

  constructor(executor: string) {
    this.#executor = executor;
  }

  /** Waits for all pieces. @throws TidemarkError `NO_EXECUTOR`. */
  begin(request: bigint, onPiece: Look['onPiece']): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: TidemarkError): void => {
        clearTimeout(this.#looks.get(request)?.timer);
        this.#looks.delete(request);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#looks.set(request, { onPiece, settle, timer: this.#patience(request) });
    });
  }

  heard(piece: AuditFound): void {
    const look = this.#looks.get(piece.request);
    if (look === undefined) return;
    clearTimeout(look.timer);
    look.timer = this.#patience(piece.request);
    look.onPiece(piece);
    if (piece.last) look.settle();
  }

  /** The executor has gone. */
  end(): void {
    for (const { settle } of [...this.#looks.values()]) settle(this.#gone('has gone'));
  }

  #patience(request: bigint): NodeJS.Timeout {
    return setTimeout(() => {
      this.#looks.get(request)?.settle(this.#gone(`said nothing for ${LIMITS.auditSilenceMs} ms`));
    }, LIMITS.auditSilenceMs);
  }

  #gone(what: string): TidemarkError {
    return new TidemarkError('NO_EXECUTOR', `executor ${this.#executor}, which was comparing, ${what}`);
  }
}

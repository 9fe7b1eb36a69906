/**
 * What keys, values and sessions must do, said as simply as it can be: nothing here is shared with the code
 * that it judges.
 */
import { REFUSED, type Answer, type Attempt, type Request } from './requests.ts';

interface ModelSession {
  readonly answers: Map<number, Answer>;
  acked: number;
}

export interface ModelValue {
  readonly value: string;
  readonly revision: number;
}

export class Model {
  readonly values = new Map<string, ModelValue>();
  /** The value that each revision brought; revision 0 is no value. */
  readonly valueOfRevision = new Map<number, string>([[0, '']]);
  readonly #sessions = new Map<number, ModelSession>();
  #revision = 0;

  /** Takes the next attempt of the log. */
  apply({ session: id, sequence, acked, request }: Attempt): Answer {
    if (id === 0) return this.#run(request);
    const session = this.#sessions.get(id);
    if (session === undefined || sequence <= session.acked) return REFUSED;
    const before = session.answers.get(sequence);
    if (before !== undefined) return before;
    const answer = this.#run(request);
    session.answers.set(sequence, answer);
    session.acked = Math.max(session.acked, Math.min(acked, sequence - 1));
    return answer;
  }

  #run(request: Request): Answer {
    if (request.type === 'open') {
      const session = this.#sessions.size + 1;
      this.#sessions.set(session, { answers: new Map(), acked: 0 });
      return { type: 'opened', session };
    }
    const { key, value, expected } = request;
    const previous = this.values.get(key)?.revision ?? 0;
    if (expected !== undefined && expected !== previous) {
      return { type: 'written', applied: false, revision: previous, previous };
    }
    if (value === undefined) {
      if (this.values.delete(key)) this.#revision++;
      return { type: 'written', applied: true, revision: 0, previous };
    }
    const revision = ++this.#revision;
    this.values.set(key, { value, revision });
    this.valueOfRevision.set(revision, value);
    return { type: 'written', applied: true, revision, previous };
  }
}

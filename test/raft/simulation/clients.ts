/**
 * Clients of a simulated cluster: each calls, waits, tries again under the same number, and is remembered.
 */
import { isTidemarkError, must } from '../../../src/base/index.ts';
import type { Counts } from './counts.ts';
import type { Call, KeyInput, KeyOutput } from './linearizability.ts';
import type { Chance, SimLoop } from './loop.ts';
import type { SimMember } from './member.ts';
import type { Oracles } from './oracles.ts';
import { answerOf, encodeAttempt, type Answer, type Attempt, type Request } from './requests.ts';

const DEADLINE_MS = 1_500;
const TRIES = 12;
/** Few, so that clients meet. */
export const KEYS: readonly string[] = ['a', 'b', 'c'];

interface OpenCall {
  readonly key: string;
  /** Undefined: a read. */
  readonly request: Request | undefined;
  readonly begin: number;
  end: number | undefined;
  answer: Answer | undefined;
  /** What a read found. */
  value: string | undefined;
  readonly attempts: number[];
}

type Outcome = Answer | 'unknown' | 'not done';

type Sent = Omit<Attempt, 'attempt' | 'request'>;

const ONCE: Sent = { session: 0, sequence: 0, acked: 0 };

export interface ClientsParts {
  readonly loop: SimLoop;
  readonly chance: Chance;
  readonly members: readonly SimMember[];
  readonly oracles: Oracles;
  readonly counts: Counts;
}

export class Clients {
  acknowledged = 0;
  reads = 0;
  readonly #parts: ClientsParts;
  readonly #calls: OpenCall[] = [];
  #order = 0;
  #attempts = 0;
  #values = 0;
  #stopped = false;

  constructor(parts: ClientsParts) {
    this.#parts = parts;
  }

  /** Starts clients that call one after another until {@link stop}. */
  start(clients: number): void {
    for (let client = 0; client < clients; client++) void this.#live();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** One write without a session at `member`: tried once, and waited for however long it takes. */
  async writeAt(member: SimMember): Promise<void> {
    const call = this.#begin(this.#write(this.#parts.chance.pick(KEYS), undefined));
    this.#finish(call, await this.#ask(member, call, ONCE));
  }

  /** Returns the revision that a key was found at, if it was. */
  async readAt(member: SimMember, key = this.#parts.chance.pick(KEYS)): Promise<number | undefined> {
    const call = this.#begin(undefined, key);
    const life = member.running;
    if (life === undefined) return undefined;
    try {
      const index = await life.driver.readIndex();
      if (member.running !== life) return undefined;
      const { appliedIndex } = life.driver.status();
      if (appliedIndex < index)
        this.#parts.oracles.fail(`a read at ${index} was answered by state ${appliedIndex}`);
      this.reads++;
      const row = life.state.read(key);
      call.end = ++this.#order;
      call.value = row?.value ?? '';
      return row?.revision ?? 0;
    } catch (error) {
      if (!isTidemarkError(error)) this.#parts.oracles.fail(`a read failed with ${String(error)}`);
      return undefined;
    }
  }

  /**
   * What all clients saw, key by key. The log is final by now: a try that was never answered and is not in it
   * had no effect; one that is in it had the effect that `effectOf` says. Revisions are told as the values
   * that they brought, so that nothing rests on the cluster's own numbers.
   */
  history(
    effectOf: (attempt: number) => Answer | undefined,
    valueOf: ReadonlyMap<number, string>,
  ): readonly Call<KeyInput, KeyOutput>[] {
    const told = (revision: number): string => valueOf.get(revision) ?? `revision ${revision} of nobody`;
    const calls: Call<KeyInput, KeyOutput>[] = [];
    for (const { key, request, begin, end, answer, value, attempts } of this.#calls) {
      if (request === undefined && value !== undefined) {
        calls.push({ key, input: { type: 'read' }, begin, end, output: value });
      }
      if (request?.type !== 'write') continue;
      const effect = answer ?? attempts.map(effectOf).find((found) => found?.type === 'written');
      if (effect?.type !== 'written') continue;
      const expected = request.expected === undefined ? undefined : told(request.expected);
      const input = { type: 'write', value: request.value ?? '', expected } as const;
      const output = { applied: effect.applied, previous: told(effect.previous) };
      calls.push({ key, input, begin, end, output });
    }
    return calls;
  }

  async #live(): Promise<void> {
    const { chance } = this.#parts;
    const revisions = new Map<string, number>();
    let session: number | undefined;
    let sequence = 0;
    let acked = 0;
    while (!this.#stopped) {
      await this.#pause(chance.between(5, 80));
      const member = this.#aMember();
      if (member === undefined) continue;
      const key = chance.pick(KEYS);
      if (session === undefined) {
        session = await this.#open(member);
      } else if (chance.hits(0.4)) {
        const deadline = this.#pause(DEADLINE_MS).then(() => undefined);
        const found = await Promise.race([this.readAt(member, key), deadline]);
        if (found !== undefined) revisions.set(key, found);
      } else {
        const expected = chance.hits(0.4) ? revisions.get(key) : undefined;
        if (chance.hits(0.3)) acked = sequence;
        const answer = await this.#call(this.#write(key, expected), { session, sequence: ++sequence, acked });
        if (answer?.type === 'written') revisions.set(key, answer.revision);
      }
    }
  }

  /** Every value is written once, so that a read tells whose it is. */
  #write(key: string, expected: number | undefined): Request {
    const { chance } = this.#parts;
    const deletes = chance.hits(0.15);
    const value = `v${++this.#values}${'.'.repeat(chance.pick([0, 20, 300]))}`;
    return { type: 'write', key, value: deletes ? undefined : value, expected };
  }

  async #open(member: SimMember): Promise<number | undefined> {
    const call = this.#begin({ type: 'open' });
    const outcome = await this.#try(member, call, ONCE);
    this.#finish(call, outcome);
    return typeof outcome === 'object' && outcome.type === 'opened' ? outcome.session : undefined;
  }

  /** The same request again and again, also when its outcome is unknown: it takes effect once. */
  async #call(request: Request, sent: Sent): Promise<Answer | undefined> {
    const call = this.#begin(request);
    for (let tries = 0; tries < TRIES; tries++) {
      const member = this.#aMember();
      if (member === undefined) {
        await this.#pause(100);
        continue;
      }
      if (call.attempts.length > 0) this.#parts.counts.add('retried-write');
      const outcome = await this.#try(member, call, sent);
      this.#finish(call, outcome);
      if (typeof outcome === 'object') return outcome;
      await this.#pause(this.#parts.chance.between(10, 200));
    }
    return undefined;
  }

  /** Asks once, and waits as long as clients do. */
  async #try(member: SimMember, call: OpenCall, sent: Sent): Promise<Outcome> {
    const asked = this.#ask(member, call, sent);
    const outcome = await Promise.race([asked, this.#pause(DEADLINE_MS).then((): Outcome => 'unknown')]);
    if (outcome === 'unknown') this.#parts.counts.add('indeterminate-write');
    return outcome;
  }

  #ask(member: SimMember, call: OpenCall, sent: Sent): Promise<Outcome> {
    const life = member.running;
    const { request } = call;
    if (life === undefined || request === undefined) return Promise.resolve('not done');
    // Who loses its power in the middle of a turn goes on to its end here; what it says then is lost.
    const silenced = (): boolean => member.running !== life;
    const attempt: Attempt = { ...sent, attempt: ++this.#attempts, request };
    const bytes = encodeAttempt(attempt);
    const { oracles } = this.#parts;
    oracles.proposed(bytes, attempt);
    call.attempts.push(attempt.attempt);
    return life.driver.propose(bytes).then(
      ({ index, reply }): Outcome => {
        if (silenced()) return 'unknown';
        const answer = answerOf(reply);
        oracles.acknowledged(bytes, index, answer);
        return answer ?? 'not done';
      },
      (error: unknown): Outcome => {
        if (!isTidemarkError(error)) oracles.fail(`a write failed with ${String(error)}`);
        if (silenced() || isTidemarkError(error, 'OUTCOME_UNKNOWN')) return 'unknown';
        oracles.refused(bytes);
        return 'not done';
      },
    );
  }

  #begin(request: Request | undefined, key?: string): OpenCall {
    const call: OpenCall = {
      key: key ?? (request?.type === 'write' ? request.key : ''),
      request,
      begin: ++this.#order,
      end: undefined,
      answer: undefined,
      value: undefined,
      attempts: [],
    };
    this.#calls.push(call);
    return call;
  }

  #finish(call: OpenCall, outcome: Outcome): void {
    if (typeof outcome === 'string' || outcome.type === 'refused') return;
    call.end = ++this.#order;
    call.answer = outcome;
    this.acknowledged++;
  }

  /** Mostly the one that leads; now and then one that only believes so, or does not. */
  #aMember(): SimMember | undefined {
    const { chance } = this.#parts;
    const running = this.#parts.members.filter((member) => member.running !== undefined);
    if (running.length === 0) return undefined;
    const leaders = running.filter(({ running: life }) => must(life, 'a life').driver.core.role === 'leader');
    return chance.pick(leaders.length > 0 && chance.hits(0.9) ? leaders : running);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.loop.after(ms, resolve);
    });
  }
}

/**
 * Clients of a simulated cluster: each calls, waits, tries again under the same number, and is remembered.
 */
import { isTidemarkError, must } from '../../../src/base/index.ts';
import type { Counts } from './counts.ts';
import type { Call, CounterInput } from './linearizability.ts';
import type { Chance, SimLoop } from './loop.ts';
import type { SimMember } from './member.ts';
import type { Oracles } from './oracles.ts';
import { countOf, encodeAttempt, type Attempt } from './state.ts';

const DEADLINE_MS = 1_500;
const TRIES = 12;

interface OpenCall {
  readonly input: CounterInput;
  readonly begin: number;
  end: number | undefined;
  output: number | undefined;
  readonly attempts: number[];
}

type Answer = { readonly count: number } | 'refused' | 'unknown';

type Request = Omit<Attempt, 'attempt'>;

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

  /** One add without a session at `member`: tried once, and waited for however long it takes. */
  async addAt(member: SimMember): Promise<void> {
    const call = this.#begin('add');
    this.#finish(call, await this.#ask(member, call, { session: 0, sequence: 0 }));
  }

  async readAt(member: SimMember): Promise<void> {
    const call = this.#begin('read');
    const driver = member.running?.driver;
    const state = member.running?.state;
    if (driver === undefined || state === undefined) return;
    try {
      const index = await driver.readIndex();
      const { appliedIndex } = driver.status();
      if (appliedIndex < index)
        this.#parts.oracles.fail(`a read at ${index} was answered by state ${appliedIndex}`);
      this.reads++;
      this.#finish(call, { count: state.count });
    } catch (error) {
      if (!isTidemarkError(error)) this.#parts.oracles.fail(`a read failed with ${String(error)}`);
    }
  }

  /**
   * What all clients saw. The log is final by now: a try that was never answered and is not in it had no
   * effect; one that is in it had the effect that the log says.
   */
  history(answers: ReadonlyMap<number, number | undefined>): readonly Call<CounterInput, number>[] {
    const calls: Call<CounterInput, number>[] = [];
    for (const { input, begin, end, output, attempts } of this.#calls) {
      if (end !== undefined) calls.push({ key: 'count', input, begin, end, output });
      if (end !== undefined || input === 'read') continue;
      const effect = attempts.map((attempt) => answers.get(attempt)).find((answer) => answer !== undefined);
      if (effect !== undefined) calls.push({ key: 'count', input, begin, end, output: effect });
    }
    return calls;
  }

  async #live(): Promise<void> {
    const { chance } = this.#parts;
    let session: number | undefined;
    let sequence = 0;
    while (!this.#stopped) {
      await this.#pause(chance.between(5, 80));
      const member = this.#aMember();
      if (member === undefined) continue;
      if (session === undefined) session = await this.#open(member);
      else if (chance.hits(0.4)) await Promise.race([this.readAt(member), this.#pause(DEADLINE_MS)]);
      else await this.#add(session, ++sequence);
    }
  }

  async #open(member: SimMember): Promise<number | undefined> {
    const call = this.#begin('add');
    const answer = await this.#try(member, call, { session: 0, sequence: 0 });
    this.#finish(call, answer);
    return typeof answer === 'object' ? answer.count : undefined;
  }

  /** The same request again and again, also when its outcome is unknown: it takes effect once. */
  async #add(session: number, sequence: number): Promise<void> {
    const call = this.#begin('add');
    for (let tries = 0; tries < TRIES; tries++) {
      const member = this.#aMember();
      if (member === undefined) {
        await this.#pause(100);
        continue;
      }
      if (call.attempts.length > 0) this.#parts.counts.add('retried-write');
      const answer = await this.#try(member, call, { session, sequence });
      this.#finish(call, answer);
      if (typeof answer === 'object') return;
      await this.#pause(this.#parts.chance.between(10, 200));
    }
  }

  /** Asks once, and waits as long as clients do. */
  async #try(member: SimMember, call: OpenCall, request: Request): Promise<Answer> {
    const asked = this.#ask(member, call, request);
    const answer = await Promise.race([asked, this.#pause(DEADLINE_MS).then((): Answer => 'unknown')]);
    if (answer === 'unknown') this.#parts.counts.add('indeterminate-write');
    return answer;
  }

  #ask(member: SimMember, call: OpenCall, request: Request): Promise<Answer> {
    const driver = member.running?.driver;
    if (driver === undefined) return Promise.resolve('refused');
    const attempt: Attempt = { ...request, attempt: ++this.#attempts };
    const bytes = encodeAttempt(attempt);
    const { oracles } = this.#parts;
    call.attempts.push(attempt.attempt);
    return driver.propose(bytes).then(
      ({ index, reply }): Answer => {
        oracles.acknowledged(bytes, index);
        const count = countOf(reply);
        return count === undefined ? 'refused' : { count };
      },
      (error: unknown): Answer => {
        if (!isTidemarkError(error)) oracles.fail(`a write failed with ${String(error)}`);
        if (isTidemarkError(error, 'OUTCOME_UNKNOWN')) return 'unknown';
        oracles.refused(bytes);
        return 'refused';
      },
    );
  }

  #begin(input: CounterInput): OpenCall {
    const call = { input, begin: ++this.#order, end: undefined, output: undefined, attempts: [] };
    this.#calls.push(call);
    return call;
  }

  #finish(call: OpenCall, answer: Answer): void {
    if (typeof answer === 'string') return;
    call.end = ++this.#order;
    call.output = answer.count;
    if (call.input === 'add') this.acknowledged++;
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

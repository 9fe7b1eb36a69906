/**
 * Bugs that others had, planted here one at a time: each must be caught. `npm run bugs` plants them all. A
 * bug is a rule that the test build can switch off, or one passage of the product that reads otherwise. Those
 * of consensus are in ./raft/simulation/seeded-bugs.ts and ./raft/breaks.ts.
 */
import type { MutationName } from '../src/base/test-build-names.ts';
import type { Break } from './support/breaking.ts';

export interface PlantedBug {
  readonly bug: string;
  readonly broken: MutationName | Break;
  /** The test file that catches it. */
  readonly file: string;
  /** A pattern of the tests' full titles there. */
  readonly named: string;
}

const MERGE = 'test/executor/merge-property.test.ts';
const SINK = 'test/executor/sink.test.ts';
const TOKENS = 'test/wire/tokens.test.ts';

const merged = (bug: string, broken: MutationName | Break): PlantedBug => ({
  bug,
  broken,
  file: MERGE,
  named: 'on the embedded engine equals',
});

const rounded = (where: string, broken: Break): PlantedBug => ({
  bug: `a token goes through a JavaScript number ${where}`,
  broken,
  file: TOKENS,
  named: 'tokens above 2\\^53',
});

/** Counts of its own for each leader, and no term to tell two leaders apart. */
const COUNTER_PER_LEADER = `
  const counters = ((nextToken as { counters?: Record<number, number> }).counters ??= {});
  const n = (counters[meta.term] = (counters[meta.term] ?? 0) + 1);
  return makeToken({ term: term(1), n }).toString();`;

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    bug: 'tokens do not grow over a change of leader: a counter per leader',
    broken: {
      file: 'src/statemachine/commands/counters.ts',
      find: `
  const n = mutated('state.tokenFromTermOnly') ? 1 : grants;
  return makeToken({ term: term(meta.term), n }).toString();`,
      replace: COUNTER_PER_LEADER,
    },
    file: 'test/statemachine/tasks.test.ts',
    named: 'makes tokens of a later term greater',
  },
  {
    bug: 'token = term only: two grants of one term share a token',
    broken: 'state.tokenFromTermOnly',
    file: 'test/statemachine/tasks.test.ts',
    named: 'gives every grant of one term a token of its own$',
  },
  {
    bug: 'the fence lets an equal token pass: two holders of one token both take effect',
    broken: 'merge.reapplySameToken',
    file: SINK,
    named: 'on mysql with a report lets racing copies',
  },
  {
    bug: 'fence check in a transaction before that of the effect',
    broken: 'merge.checkedApart',
    file: SINK,
    named: 'on mysql with a report lets racing copies',
  },
  merged('effect in a transaction before that of the ledger', 'merge.ledgerOutsideTransaction'),
  rounded('where the log and JSON are read', {
    file: 'src/base/fencing-token.ts',
    find: 'return asToken(BigInt(text));',
    replace: 'return asToken(BigInt(Number(text)));',
  }),
  rounded('in what the MySQL driver read', {
    file: 'src/sql/mysql-results.ts',
    find: 'return BigInt(value as string | number);',
    replace: 'return BigInt(Number(value));',
  }),
  rounded('in the text of a statement for MySQL', {
    file: 'src/sql/mysql-literals.ts',
    find: 'return value.toString();\n    case',
    replace: 'return Number(value).toString();\n    case',
  }),
  rounded('in JSON of the command line', {
    file: 'src/cli/output.ts',
    find: "typeof item === 'bigint' ? item.toString() : item",
    replace: "typeof item === 'bigint' ? Number(item) : item",
  }),
  {
    bug: 'the answer to a COMMIT is lost, and the same work under a new token counts twice',
    broken: 'merge.keepOldContribution',
    file: SINK,
    named: 'on mysql with a report counts once what is merged again under a new token',
  },
  {
    bug: 'a ledger without the source',
    broken: 'merge.ledgerWithoutSource',
    file: SINK,
    named: 'on mysql with a report keeps windows of one number apart',
  },
  merged('extremes kept per window', 'merge.perWindowExtremes'),
  merged('empty report rows deleted by the merge', 'merge.deleteEmptyRows'),
  {
    bug: 'a join against the current state',
    broken: 'job.joinsCurrentState',
    file: 'test/executor/joins/joins.test.ts',
    named: 'random cases on the embedded engine',
  },
  {
    bug: 'row states advanced by the collector',
    broken: {
      file: 'src/collector/collector.ts',
      find: "await this.#answered('seal', () => this.#options.seal(window, cursor));",
      replace: `
    const { advanceStates } = await import('../executor/states/advance.ts');
    const { source, engines, signal } = this.#options;
    for (const { shard } of window.shards) {
      await advanceStates(engines.shards.get(shard), {
        sourceId, source, shard, signal, windows: [window], token: epoch, marker: 'collector',
        captured: (table) => tables.find((one) => one.table === table),
      });
    }
    await this.#answered('seal', () => this.#options.seal(window, cursor));`,
    },
    file: 'test/collector/two-collectors.test.ts',
    named: 'never reads a row of the deposed one',
  },
  {
    bug: 'a span over a window that is granted already',
    broken: 'state.spanOverGranted',
    file: 'test/statemachine/spans.test.ts',
    named: 'takes only windows behind all that the report was granted$',
  },
  merged('a merge below the fold mark', 'merge.ignoreFoldMark'),
  {
    bug: 'change rows of a deposed epoch are visible',
    broken: 'job.rowsOfAnyEpoch',
    file: 'test/job/contribution-queries.test.ts',
    named: '',
  },
  merged('a skip that does not remove the contribution', 'merge.skipKeepsContribution'),
  merged('sink epochs compared by order, not for equality', 'merge.sinkEpochAtLeast'),
  merged("a watermark written from Raft's view", 'merge.watermarkFromRaft'),
  {
    bug: 'affectedKeys written by an older window',
    broken: 'merge.olderWindowWrites',
    file: 'test/executor/affected-keys/affected-keys.test.ts',
    named: 'random cases on the embedded engine',
  },
];

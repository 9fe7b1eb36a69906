import { describe, expect, it } from 'vitest';
import { shareMembers } from '../../src/job/file/same-members.ts';
import type { Measure } from '../../src/job/index.ts';
import { rule } from '../support/rule.ts';

const MEASURES: readonly Measure[] = [
  { name: 'n', kind: 'count', type: 'BIGINT' },
  { name: 'least', kind: 'min', type: 'BIGINT' },
  { name: 'Most', kind: 'max', type: 'BIGINT' },
  { name: 'total', kind: 'sum', type: 'BIGINT' },
  { name: 'kinds', kind: 'distinct', type: 'BIGINT' },
];
const shared = (sql: string, measures = MEASURES): (number | undefined)[] =>
  shareMembers(measures, sql, 'mysql').map(({ sameAs }) => sameAs);
const rest = 'o.cents AS total, o._w AS _w FROM o';

describe('min, max and distinct of one column', () => {
  it('have one multiset, in each branch of a UNION ALL', () => {
    const sql = `SELECT 1 AS n, o.cents AS least, o.cents AS \`most\`, o.kind AS kinds, ${rest}`;
    expect(shared(sql)).toEqual([undefined, undefined, 1, undefined, undefined]);
    const same = `${sql} UNION ALL SELECT 1, p.paid, p.paid AS x, p.kind, p.paid, p._w FROM p`;
    expect(shared(same)).toEqual([undefined, undefined, 1, undefined, undefined]);
  });

  rule('job.anyColumnIsTheSame', 'have two where a branch or the type differs', () => {
    const sql = `SELECT 1 AS n, o.cents AS least, o.cents AS most, o.kind AS kinds, ${rest}`;
    const other = `${sql} UNION ALL SELECT 1, p.paid, p.fee, p.kind, p.paid, p._w FROM p`;
    expect(shared(other)).toEqual(MEASURES.map(() => undefined));
    const [n, least, ...more] = MEASURES;
    if (n === undefined || least === undefined) throw new Error('there are such measures');
    expect(shared(sql, [n, { ...least, type: 'DECIMAL(9,2)' }, ...more])).toEqual(
      MEASURES.map(() => undefined),
    );
  });

  it.each(['o.cents + 0', 'RAND()', 'cents', '(o.cents)'])(
    'are not seen to be the same in %s',
    (expression) => {
      const sql = `SELECT 1 AS n, ${expression} AS least, ${expression} AS most, o.kind AS kinds, ${rest}`;
      expect(shared(sql)).toEqual(MEASURES.map(() => undefined));
    },
  );
});

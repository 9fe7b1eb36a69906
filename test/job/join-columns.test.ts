import { describe, expect, it } from 'vitest';
import { joinColumns, type ReportInput } from '../../src/job/index.ts';

const INPUTS: ReportInput[] = [
  { alias: 'o', kind: 'changes', table: 'orders' },
  { alias: 'p', kind: 'changes', table: 'payments' },
  { alias: 's', kind: 'dimension', table: 'shops', columns: [] },
];
const of = (sql: string): string[] =>
  joinColumns({ inputs: INPUTS, sql }, 'mysql').map(({ table, columns }) => `${table}(${columns.join()})`);

describe('columns that a report joins by', () => {
  it('are those of equalities between two inputs, in ON, WHERE and USING', () => {
    expect(of('SELECT 1 FROM o JOIN p ON p.shop = o.shop AND p.order_id = o.id')).toEqual([
      'orders(id,shop)',
      'payments(order_id,shop)',
    ]);
    expect(of('SELECT 1 FROM o, p AS `Q` WHERE (`q`.`Order_Id` = o.id) AND o.a = 5')).toEqual([
      'orders(id)',
      'payments(order_id)',
    ]);
    expect(of('SELECT 1 FROM o JOIN p USING (shop)')).toEqual(['orders(shop)', 'payments(shop)']);
  });

  it('are found in every SELECT, and never for a dimension', () => {
    const sql = `WITH a AS (SELECT o.id FROM o JOIN s ON s.id = o.shop)
      SELECT 1 FROM a JOIN p ON p.order_id = a.id UNION ALL SELECT 2 FROM o JOIN p ON p.x = o.y`;
    expect(of(sql)).toEqual(['orders(shop)', 'payments(order_id)', 'orders(y)', 'payments(x)']);
  });

  it('are none where the text shows no equality', () => {
    expect(of('SELECT 1 FROM o JOIN p ON p.shop = o.shop OR p.id = o.id')).toEqual([]);
    expect(of('SELECT 1 FROM o WHERE o.a = o.b')).toEqual([]);
  });
});

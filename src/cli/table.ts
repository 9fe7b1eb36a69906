/** Plain tables: a header line, columns padded to their widest value, numbers to the right. */

export interface Column<R> {
  readonly title: string;
  readonly value: (row: R) => string | number | bigint;
}

export function formatTable<R>(rows: readonly R[], columns: readonly Column<R>[]): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)));
  const widths = columns.map((column, index) =>
    Math.max(column.title.length, ...cells.map((line) => String(line[index] ?? '').length)),
  );
  const numeric = columns.map((_, index) => cells.every((line) => typeof line[index] !== 'string'));
  const format = (line: readonly (string | number | bigint)[]): string =>
    line
      .map((cell, index) => {
        const width = widths[index] ?? 0;
        return numeric[index] === true ? String(cell).padStart(width) : String(cell).padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [format(columns.map((column) => column.title)), ...cells.map(format)].join('\n');
}

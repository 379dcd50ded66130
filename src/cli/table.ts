/** Columns of text for people. */

/** One column: its heading and what stands in it. */
export type Column<T> = readonly [heading: string, cell: (row: T) => string | number, align?: 'right'];

/** Lines of aligned columns under their headings, each with a newline. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[]): string[] {
  const cells = rows.map((row) => columns.map(([, cell]) => String(cell(row))));
  const table = [columns.map(([heading]) => heading), ...cells];
  const widths = columns.map((_, i) => Math.max(...table.map((line) => (line[i] ?? '').length)));
  return table.map((line) => {
    const padded = line.map((text, i) => {
      const width = widths[i] ?? 0;
      return columns[i]?.[2] === 'right' ? text.padStart(width) : text.padEnd(width);
    });
    return `${padded.join('  ').trimEnd()}\n`;
  });
}

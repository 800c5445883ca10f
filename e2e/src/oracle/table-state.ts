import type { CellValue } from '@sluice/domain';

export type Row = Readonly<Record<string, CellValue>>;

/** What one client table holds. */
export interface TableState {
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
}
/** By name of the client table. */
export type DatabaseState = ReadonlyMap<string, TableState>;

/** Differences that are told per table. */
const EXAMPLES_MAX = 3;

/**
 * What the client has that it should not and the other way round, one line a table; nothing when they are equal. What
 * stands in `ignoring`, a table or a `table.column`, counts on neither side.
 */
export function differences(
  expected: DatabaseState,
  actual: DatabaseState,
  ignoring: ReadonlySet<string> = new Set(),
): string[] {
  const tables = new Set([...expected.keys(), ...actual.keys()]);
  return [...tables].flatMap((table) => {
    if (ignoring.has(table)) return [];
    const wanted = expected.get(table);
    const held = actual.get(table);
    if (!wanted || !held) return [`${table}: the client ${held ? 'has' : 'lacks'} the table`];
    const line = tableDifference(wanted, held, (column) => !ignoring.has(`${table}.${column}`));
    return line === undefined ? [] : [`${table}: ${line}`];
  });
}

function tableDifference(
  wanted: TableState,
  held: TableState,
  counts: (column: string) => boolean,
): string | undefined {
  const wantedColumns = wanted.columns.filter(counts);
  const heldColumns = held.columns.filter(counts);
  const extra = heldColumns.filter((column) => !wantedColumns.includes(column));
  const lacking = wantedColumns.filter((column) => !heldColumns.includes(column));
  if (extra.length > 0 || lacking.length > 0)
    return `columns differ: extra [${extra.join(', ')}], lacking [${lacking.join(', ')}]`;
  const names = heldColumns.toSorted();
  const wantedRows = countRows(wanted.rows, names);
  const heldRows = countRows(held.rows, names);
  const missing = notIn(wantedRows, heldRows);
  const surplus = notIn(heldRows, wantedRows);
  if (missing.length === 0 && surplus.length === 0) return undefined;
  return `${wanted.rows.length} rows wanted, ${held.rows.length} held; ${told('missing', missing)}; ${told('surplus', surplus)}`;
}

function countRows(rows: readonly Row[], columns: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const text = columns.map((column) => `${column}=${cellText(row[column] ?? null)}`).join(' ');
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}

/** Different cells have different texts: an integer and the same digits as text are not equal. */
function cellText(value: CellValue): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
  return Object.is(value, -0) ? '-0' : String(value);
}

function notIn(these: ReadonlyMap<string, number>, those: ReadonlyMap<string, number>): string[] {
  return [...these].flatMap(([row, count]) => (count > (those.get(row) ?? 0) ? [row] : []));
}

function told(what: string, rows: readonly string[]): string {
  const shown = rows.slice(0, EXAMPLES_MAX).map((row) => (row.length > 300 ? `${row.slice(0, 300)}...` : row));
  return `${what} ${rows.length}${shown.length > 0 ? ` (${shown.join(' | ')})` : ''}`;
}

/**
 * A result as it crosses from the worker to the page: one f64 and one tag per cell, row by row, and one blob for every
 * text and blob. Three buffers are moved, not copied, however many rows there are.
 */
export interface ResultFrame {
  readonly columns: readonly string[];
  readonly rows: number;
  /** A number; the end of a text or blob in `bytes` (it starts where the one before ended); or the bits of an int64. */
  readonly cells: Float64Array<ArrayBuffer>;
  readonly tags: Uint8Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}
export const FRAME_TAG = { null: 0, number: 1, text: 2, blob: 3, int64: 4 } as const;

export type FrameValue = null | number | bigint | string | Uint8Array<ArrayBuffer>;
export type FrameRow = Record<string, FrameValue>;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const latin1 = new TextDecoder('latin1');

/** Rows as objects; a second column of one name is called `name:1`, as SQLite calls it where a subquery has both. */
export function rowsFromFrame(frame: ResultFrame): FrameRow[] {
  const { cells, tags, bytes } = frame;
  const columns = distinct(frame.columns);
  const int64 = new BigInt64Array(cells.buffer);
  const ascii = bytes.every((byte) => byte < 0x80) ? latin1.decode(bytes) : undefined;
  const rows: FrameRow[] = [];
  let start = 0;
  let cell = 0;
  for (let i = 0; i < frame.rows; i++) {
    const row: FrameRow = {};
    for (const column of columns) {
      const tag = tags[cell];
      const number = cells[cell] as number;
      if (tag === FRAME_TAG.number) row[column] = number;
      else if (tag === FRAME_TAG.null) row[column] = null;
      else if (tag === FRAME_TAG.int64) row[column] = int64[cell] as bigint;
      else {
        if (tag === FRAME_TAG.blob) row[column] = bytes.slice(start, number);
        else row[column] = ascii?.slice(start, number) ?? decoder.decode(bytes.subarray(start, number));
        start = number;
      }
      cell++;
    }
    rows.push(row);
  }
  return rows;
}

function distinct(columns: readonly string[]): readonly string[] {
  const taken = new Set(columns);
  if (taken.size === columns.length) return columns;
  const given = new Set<string>();
  return columns.map((column) => {
    let name = column;
    for (let n = 1; given.has(name) || (name !== column && taken.has(name)); n++) name = `${column}:${n}`;
    given.add(name);
    return name;
  });
}

import { ByteReader, ByteWriter, MalformedBytesError, skipCell } from '@sluice/domain';

/**
 * What one local transaction did, in the order in which it did it: the payload of an `upload`. A mutation names its table and
 * columns as the client knows them, so that it means the same after a schema change. Values are cells (`docs/protocol.md`, section 7).
 *
 * Payload: a run of mutations until its end. A mutation: kind `u8`; table `text`; key `varint` count, then that many cells in the order
 * of the table's key; columns `varint` count, each a name `text`, `u8` of flags (1 a value follows, 2 a previous value follows),
 * then those cells.
 */
export const MUTATION_KINDS = ['insert', 'update', 'delete', 'upsert'] as const;
export type MutationKind = (typeof MUTATION_KINDS)[number];

export interface ColumnChange {
  readonly column: string;
  /** One encoded cell; undefined for a column of a deleted row. */
  readonly value: Uint8Array | undefined;
  /** One encoded cell: what the client showed before; undefined where there was no row. */
  readonly previous: Uint8Array | undefined;
}
export interface Mutation {
  readonly kind: MutationKind;
  readonly table: string;
  /** The encoded cells of the row key, one after the other. */
  readonly key: Uint8Array;
  readonly keyCells: number;
  /**
   * Never key columns. An insert names the columns that are not NULL, an update those that changed, a delete all that it removed.
   * An upsert of a row that was there names all of them, with those of equal value and previous value for the case that the row is
   * gone: where it is not, they are left as they are.
   */
  readonly columns: readonly ColumnChange[];
}

const NAME_BYTES_MAX = 1024;
const COLUMNS_MAX = 2000;
const HAS_VALUE = 1;
const HAS_PREVIOUS = 2;

export function appendMutation(out: ByteWriter, { kind, table, key, keyCells, columns }: Mutation): void {
  out.u8(MUTATION_KINDS.indexOf(kind));
  out.text(table);
  out.varint(keyCells);
  out.raw(key);
  out.varint(columns.length);
  for (const { column, value, previous } of columns) {
    out.text(column);
    out.u8((value ? HAS_VALUE : 0) | (previous ? HAS_PREVIOUS : 0));
    if (value) out.raw(value);
    if (previous) out.raw(previous);
  }
}

export function encodeMutations(mutations: readonly Mutation[]): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(256);
  for (const mutation of mutations) appendMutation(out, mutation);
  return out.take();
}

/** Cells are views of the payload. @throws MalformedBytesError */
export function decodeMutations(payload: Uint8Array): Mutation[] {
  const input = new ByteReader(payload);
  const mutations: Mutation[] = [];
  while (input.remaining > 0) mutations.push(readMutation(input, payload));
  return mutations;
}

function readMutation(input: ByteReader, payload: Uint8Array): Mutation {
  const kind = MUTATION_KINDS[input.u8()];
  if (kind === undefined) throw new MalformedBytesError('unknown kind of mutation');
  const table = input.text(NAME_BYTES_MAX);
  const keyCells = input.varint();
  if (keyCells < 1 || keyCells > COLUMNS_MAX) throw new MalformedBytesError('impossible key');
  const key = readCells(input, payload, keyCells);
  const count = input.varint();
  if (count > COLUMNS_MAX) throw new MalformedBytesError('impossible count');
  const columns: ColumnChange[] = [];
  for (let i = 0; i < count; i++) columns.push(readColumn(input, payload));
  return { kind, table, key, keyCells, columns };
}

function readColumn(input: ByteReader, payload: Uint8Array): ColumnChange {
  const column = input.text(NAME_BYTES_MAX);
  const flags = input.u8();
  if (flags < HAS_VALUE || flags > (HAS_VALUE | HAS_PREVIOUS)) throw new MalformedBytesError('unknown flags');
  const value = flags & HAS_VALUE ? readCells(input, payload, 1) : undefined;
  const previous = flags & HAS_PREVIOUS ? readCells(input, payload, 1) : undefined;
  return { column, value, previous };
}

function readCells(input: ByteReader, payload: Uint8Array, count: number): Uint8Array {
  const start = input.at;
  for (let i = 0; i < count; i++) skipCell(input);
  return payload.subarray(start, input.at);
}

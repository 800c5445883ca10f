import {
  ByteWriter,
  Checksum,
  Hash64,
  tableSeed,
  writeBigintCell,
  writeBlobCell,
  writeFloatCell,
  writeNullCell,
  writeTextCell,
} from '@sluice/domain';
import type { TableSchema } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import { SQLITE } from '../sqlite/module.ts';
import type { Statement } from '../sqlite/statement.ts';
import type { BucketState } from './bookkeeping.ts';
import { parseHolders } from './holders.ts';
import type { Schema } from './schema.ts';
import { HASH_COLUMN, HOLDERS_COLUMN, quoteName } from './table-sql.ts';

export interface VerifyReport {
  readonly ok: boolean;
  readonly rows: number;
  /** One line each, without row values; at most 100. */
  readonly problems: readonly string[];
  readonly buckets: readonly {
    readonly bucket: string;
    readonly stream: string;
    readonly table: string;
    readonly rows: number;
    /** Unsigned 64-bit sum of the row hashes, recomputed from the table. */
    readonly checksum: bigint;
    readonly ok: boolean;
  }[];
}
const PROBLEMS_MAX = 100;

/** Encodes every row again as the server did and compares hashes and totals (L9). @throws SqliteFailure */
export function verifyRows(db: Database, schema: Schema, states: readonly BucketState[]): VerifyReport {
  const found = new Map(states.map((state) => [state.number, { checksum: new Checksum(), rows: 0 }]));
  const problems: string[] = [];
  const report = (problem: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(problem);
  };
  let rows = 0;
  for (const table of schema.tables.values()) {
    rows += forEachHashedRow(db, table, (holders, lo, hi, isHashRight) => {
      if (!isHashRight) report(`${table.name}: a row differs from its hash`);
      for (const holder of holders) {
        const totals = found.get(holder);
        if (!totals) report(`${table.name}: a row is held by a bucket that is not there`);
        totals?.checksum.add(lo, hi);
        if (totals) totals.rows++;
      }
    });
  }
  const buckets = states.map((state) => {
    const totals = found.get(state.number) ?? { checksum: new Checksum(), rows: 0 };
    const checksum = totals.checksum.toBigint();
    const ok = totals.rows === state.rows && checksum === state.checksum.toBigint();
    const stream = schema.streams.get(state.stream);
    if (!ok) report(`bucket ${state.bucket} differs from its totals`);
    const { bucket } = state;
    return { bucket, stream: stream?.name ?? '', table: stream?.table ?? '', rows: totals.rows, checksum, ok };
  });
  return { ok: problems.length === 0, rows, problems, buckets };
}

function forEachHashedRow(
  db: Database,
  table: TableSchema,
  visit: (holders: readonly number[], lo: number, hi: number, isHashRight: boolean) => void,
): number {
  const names = [...table.columns.map(({ name }) => name), HOLDERS_COLUMN, HASH_COLUMN].map(quoteName);
  const n = table.columns.length;
  const seed = tableSeed(table.name);
  const writer = new ByteWriter(4096);
  const hash = new Hash64();
  let rows = 0;
  db.forEachRow(`SELECT ${names.join(', ')} FROM ${quoteName(table.name)}`, [], (row) => {
    writer.reset();
    for (let column = 0; column < n; column++) writeColumn(writer, row, column);
    hash.update(writer.bytes, writer.view, 0, writer.length, seed);
    const holders = row.type(n) === SQLITE.integer ? [row.int(n)] : parseHolders(row.blob(n));
    const stored = BigInt.asUintN(64, row.int64(n + 1));
    const isHashRight = stored === ((BigInt(hash.hi) << 32n) | BigInt(hash.lo));
    rows++;
    visit(holders, hash.lo, hash.hi, isHashRight);
  });
  return rows;
}

/** The canonical cell of what SQLite holds; exact also for -0, 64-bit integers and text that is not UTF-16 clean. */
function writeColumn(out: ByteWriter, row: Statement, column: number): void {
  const { module } = row.database;
  switch (row.type(column)) {
    case SQLITE.null:
      writeNullCell(out);
      break;
    case SQLITE.integer:
      writeBigintCell(out, row.int64(column));
      break;
    case SQLITE.float:
      writeFloatCell(out, row.double(column));
      break;
    default: {
      const write = row.type(column) === SQLITE.text ? writeTextCell : writeBlobCell;
      const at = module.c.sqlite3_column_blob(row.pointer, column);
      const length = module.c.sqlite3_column_bytes(row.pointer, column);
      write(out, module.bytes(), at, at + length);
    }
  }
}

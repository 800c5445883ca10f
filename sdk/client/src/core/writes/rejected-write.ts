import { ByteReader, readCell } from '@sluice/domain';
import { decodeMutations, type Mutation } from '@sluice/protocol';
import type { QueryParameter, RejectedWriteInfo, WriteOperation, WriteValues } from '../../types.ts';
import type { Schema } from '../store/schema.ts';
import type { RejectedWrite } from './pending-queue.ts';
import { cellsOf } from './row-image.ts';

/** A refused transaction as an app may show, correct and write it again. */
export function rejectedInfo(write: RejectedWrite, schema: Schema): RejectedWriteInfo {
  const { id, code, reason, rejectedAtMs, payload } = write;
  const operations = decodeMutations(payload).map((mutation) => operationOf(mutation, schema));
  return { id, code, reason, rejectedAtMs, operations };
}

function operationOf(mutation: Mutation, schema: Schema): WriteOperation {
  const { kind, table, columns } = mutation;
  const key = keyOf(mutation, schema);
  const values = { ...key, ...valuesOf(columns.map(({ column, value }) => [column, value])) };
  switch (kind) {
    case 'insert':
      return { insert: table, values };
    case 'update':
      return { update: table, values };
    case 'upsert':
      return { upsert: table, values };
    case 'delete':
      return { delete: table, key };
  }
}

/** A table that is gone by now has no names for its key: they are numbered. */
function keyOf({ table, key }: Mutation, schema: Schema): WriteValues {
  const columns = schema.tables.get(table)?.columns;
  return valuesOf(cellsOf(key).map((cell, i) => [columns?.[i]?.name ?? `key ${i + 1}`, cell]));
}

function valuesOf(cells: readonly (readonly [string, Uint8Array | undefined])[]): WriteValues {
  const values: Record<string, QueryParameter> = {};
  for (const [name, cell] of cells) {
    if (!cell) continue;
    const value = readCell(new ByteReader(cell));
    values[name] = value instanceof Uint8Array ? value.slice() : value;
  }
  return values;
}

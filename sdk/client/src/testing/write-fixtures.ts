import { type BucketId, parseStreamNo } from '@sluice/domain';
import type { StreamSchema, TableSchema } from '@sluice/protocol';
import { cell, LINKS, NOTES } from './fixtures.ts';
import { bucketId, type ModelRow, ModelSource } from './model-source.ts';

/** The tables that tell a client what became of its uploads. */
const CLIENTS: TableSchema = {
  name: 'sluice_client',
  keyColumns: 2,
  columns: [
    { name: 'project', sqliteType: 'TEXT', pgType: 'text' },
    { name: 'client_id', sqliteType: 'TEXT', pgType: 'uuid' },
    { name: 'seq', sqliteType: 'INTEGER', pgType: 'bigint' },
  ],
};
const REFUSALS: TableSchema = {
  name: 'sluice_refusal',
  keyColumns: 3,
  columns: [
    ...CLIENTS.columns,
    { name: 'code', sqliteType: 'TEXT', pgType: 'text' },
    { name: 'reason', sqliteType: 'TEXT', pgType: 'text' },
  ],
};
const TABLES = [NOTES, LINKS, CLIENTS, REFUSALS];
const STREAMS: StreamSchema[] = TABLES.map((table, i) => ({
  stream: parseStreamNo(i + 1),
  name: `stream ${i + 1}`,
  table: table.name,
}));

/** One bucket a table. */
export function bucketOf(table: { readonly name: string }): BucketId {
  return bucketId(TABLES.findIndex(({ name }) => name === table.name) + 1);
}
export const HELD: ReadonlySet<BucketId> = new Set(TABLES.map(bucketOf));

/** A source whose streams are notes, links, and what became of writes. */
export function newWritesSource(): ModelSource {
  const source = new ModelSource(TABLES, STREAMS);
  for (const [i, table] of TABLES.entries()) source.addBucket(bucketOf(table), i + 1);
  return source;
}
/** The record that the client's writes through `seq` are settled. */
export function recordRow(client: string, seq: number): ModelRow {
  return [cell('p'), cell(client), cell(BigInt(seq))];
}
export function refusalRow(client: string, seq: number): ModelRow {
  return [...recordRow(client, seq), cell('WRITE_STALE'), cell('somebody was faster')];
}

import { sha256 } from '@noble/hashes/sha2.js';
import { CELL_ENCODING_VERSION, hexFromBytes } from '@sluice/domain';
import { canonicalJson } from './canonical-json.ts';
import type { CatalogTable, StreamPlan } from './plan.ts';

/**
 * The identity of a stream's content (L11): everything that decides which bytes a bucket holds. Relations count by oid,
 * since a table dropped and made again shares nothing but its name. Type names are left out: they are for documents.
 */
export function contentHashOf(plan: Omit<StreamPlan, 'contentHash'>, tables: readonly CatalogTable[]): string {
  const meaning = {
    ...plan,
    cellEncoding: CELL_ENCODING_VERSION,
    relations: tables.map(({ schema, name, oid }) => ({ schema, name, oid })),
    table: { ...plan.table, columns: plan.table.columns.map(({ pgType: _, ...column }) => column) },
  };
  return hexFromBytes(sha256(new TextEncoder().encode(canonicalJson(meaning))));
}

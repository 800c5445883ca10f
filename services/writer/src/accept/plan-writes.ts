import { ByteReader, MalformedBytesError, readCell } from '@sluice/domain';
import type { Code } from '@sluice/errors';
import { type ColumnChange, decodeMutations, LIMITS, type Mutation } from '@sluice/protocol';
import type { ClientColumn, CompiledRules, WritableTable, WritesPlan } from '@sluice/sync-rules';
import { isRefusal, type Parameter, type PlannedChange, type PlannedWrite, type Refusal } from '../model.ts';
import { cellValueOf, parameterOf } from './parameter-of.ts';

/** Names that a client made up are shown shortened, and as JSON, since Postgres has no NUL in a text. */
const SHOWN_CHARACTERS_MAX = 100;

/**
 * Reads an upload's payload against the rules in force: all of its writes in order, or why none of them can be made.
 * Nothing is asked of the source.
 */
export function planWrites(payload: Uint8Array, rules: CompiledRules, writes: WritesPlan): PlannedWrite[] | Refusal {
  try {
    const mutations = decodeMutations(payload);
    if (payload.length > LIMITS.uploadBytesMax || mutations.length > LIMITS.uploadMutationsMax)
      return { code: 'WRITE_TOO_LARGE', reason: `${mutations.length} changes` };
    return planEach(mutations, rules, writes);
  } catch (error) {
    if (error instanceof MalformedBytesError) return { code: 'WRITE_MALFORMED', reason: error.message };
    throw error;
  }
}

function planEach(mutations: readonly Mutation[], rules: CompiledRules, writes: WritesPlan): PlannedWrite[] | Refusal {
  const tableByName = new Map(writes.tables.map((table) => [table.table.name, table]));
  const planned: PlannedWrite[] = [];
  for (const mutation of mutations) {
    const table = tableByName.get(mutation.table);
    const write = table ? planWrite(mutation, table) : refusedTable(mutation.table, rules);
    if (isRefusal(write)) return write;
    planned.push(write);
  }
  return planned;
}

function refusedTable(name: string, { streams }: CompiledRules): Refusal {
  const isSynced = streams.some(({ table }) => table.name === name);
  return { code: isSynced ? 'WRITE_TABLE_READ_ONLY' : 'WRITE_TABLE_UNKNOWN', reason: shown(name) };
}

function planWrite(mutation: Mutation, table: WritableTable): PlannedWrite | Refusal {
  const { kind } = mutation;
  if (table.policy === 'insert-only' && (kind === 'update' || kind === 'delete'))
    return refusal('WRITE_INSERT_ONLY', table);
  const key = keyOf(mutation, table);
  if (isRefusal(key)) return key;
  const changes: PlannedChange[] = [];
  const seen = new Set<ClientColumn>();
  for (const named of mutation.columns) {
    const change = changeOf(named, table);
    if (isRefusal(change)) return change;
    if (seen.has(change.column)) return refusal('WRITE_MALFORMED', table, named.column);
    if (kind !== 'delete' && change.value === undefined) return refusal('WRITE_MALFORMED', table, named.column);
    // Without it nobody could say whether the row is as the client saw it.
    const mustCompare = (kind === 'update' || kind === 'delete') && table.policy !== 'merge';
    if (mustCompare && change.previous === undefined) return refusal('WRITE_MALFORMED', table, named.column);
    seen.add(change.column);
    changes.push(change);
  }
  return { kind, table, key, changes };
}

function keyOf(mutation: Mutation, { table, ...rest }: WritableTable): readonly string[] | Refusal {
  const writable = { table, ...rest };
  const columns = table.columns.slice(0, table.keyColumns);
  if (mutation.keyCells !== columns.length) return refusal('WRITE_MALFORMED', writable);
  const cells = new ByteReader(mutation.key);
  const key: string[] = [];
  for (const column of columns) {
    const value = parameterOf(readCell(cells), column.baseTypeOid);
    if (typeof value !== 'string') return refusal('WRITE_VALUE_INVALID', writable, column.name);
    key.push(value);
  }
  return key;
}

function changeOf(named: ColumnChange, writable: WritableTable): PlannedChange | Refusal {
  const { columns, keyColumns } = writable.table;
  const index = columns.findIndex(({ name }) => name === named.column);
  const column = columns[index];
  if (!column) return refusal('WRITE_COLUMN_UNKNOWN', writable, named.column);
  // A row's key never changes: that is a delete and an insert.
  if (index < keyColumns) return refusal('WRITE_MALFORMED', writable, named.column);
  const value = parameterOfCell(named.value, column);
  const previous = parameterOfCell(named.previous, column);
  if (value === 'invalid' || previous === 'invalid') return refusal('WRITE_VALUE_INVALID', writable, named.column);
  return { column, value: value?.parameter, previous: previous?.parameter };
}

function parameterOfCell(
  cell: Uint8Array | undefined,
  { baseTypeOid }: ClientColumn,
): { readonly parameter: Parameter } | undefined | 'invalid' {
  if (!cell) return undefined;
  const parameter = parameterOf(cellValueOf(cell), baseTypeOid);
  return parameter === undefined ? 'invalid' : { parameter };
}

function refusal(code: Code, { table }: WritableTable, column?: string): Refusal {
  return { code, reason: column === undefined ? table.name : `${table.name}, column ${shown(column)}` };
}
function shown(name: string): string {
  return JSON.stringify(name.slice(0, SHOWN_CHARACTERS_MAX));
}

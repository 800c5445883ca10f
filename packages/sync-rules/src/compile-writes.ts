import type { DiagnosticSink } from './diagnostics.ts';
import { nearestName } from './nearest-name.ts';
import type { Catalog, StreamPlan, WritableTable, WritesPlan } from './plan.ts';
import { quoted } from './resolve-names.ts';
import type { RawWritableTable, RawWrites } from './rules-file.ts';
import { WRITES_SCHEMA, WRITES_TABLES, WRITES_TABLES_SQL } from './writes-tables.ts';

/** Whether the source has the tables that writes are recorded in; otherwise tells the sink how to make them. */
export function hasWritesTables(writes: RawWrites, catalog: Catalog, sink: DiagnosticSink): boolean {
  const hasTable = (name: string): boolean =>
    catalog.tables.some((table) => table.schema === WRITES_SCHEMA && table.name === name);
  const missing = WRITES_TABLES.filter((name) => !hasTable(name));
  if (missing.length === 0) return true;
  sink.refuse(writes.span, {
    code: 'RULES_WRITES_TABLES_MISSING',
    message: `The source has no table ${missing.map((name) => `${WRITES_SCHEMA}.${name}`).join(' and no table ')}, which writes are recorded in.`,
    hint: `Run as an owner of the database, and grant SELECT, INSERT, UPDATE and DELETE on both to the source's role: ${WRITES_TABLES_SQL}`,
  });
  return false;
}

export interface WritesInput {
  readonly writes: RawWrites;
  /** Plans of the tenant's own streams. */
  readonly streams: readonly StreamPlan[];
  /** Every stream of the file has a plan: only then is a table that none feeds really unknown. */
  readonly isComplete: boolean;
  readonly catalog: Catalog;
}

export function compileWrites(input: WritesInput, sink: DiagnosticSink): WritesPlan {
  const { writes, streams } = input;
  const tables: WritableTable[] = [];
  for (const raw of writes.tables) {
    const plan = streams.find(({ table }) => table.name === raw.name);
    if (plan) tables.push({ table: plan.table, source: plan.sourceTable, policy: raw.policy });
    else if (input.isComplete) refuseTable(raw, input, sink);
  }
  return { role: writes.role, tables };
}

function refuseTable(raw: RawWritableTable, { streams, catalog }: WritesInput, sink: DiagnosticSink): void {
  const names = [...new Set(streams.map(({ table }) => table.name))];
  const near = nearestName(raw.name, names);
  const isAtSource = catalog.tables.some(({ name }) => name === raw.name);
  sink.refuse(raw.span, {
    code: 'RULES_WRITES_TABLE_UNKNOWN',
    message: isAtSource
      ? `No stream feeds a client table ${quoted(raw.name)}: clients would write what they cannot see.`
      : `There is no client table ${quoted(raw.name)}.`,
    hint: near === undefined ? `Client tables are ${names.map(quoted).join(', ')}.` : `Did you mean ${quoted(near)}?`,
  });
}

import { canonicalJson } from './canonical-json.ts';
import { compileStream, sqliteName } from './compile-stream.ts';
import { compileWrites, hasWritesTables } from './compile-writes.ts';
import { DiagnosticSink } from './diagnostics.ts';
import { parseQuery } from './parse-query.ts';
import type { Catalog, CompiledRules, Diagnostic, SourceTable, StreamPlan } from './plan.ts';
import { quoted } from './resolve-names.ts';
import { parseRulesFile, type RawStream } from './rules-file.ts';
import { writesStreams } from './writes-tables.ts';

export type CompileResult =
  | { readonly kind: 'ok'; readonly rules: CompiledRules; readonly warnings: readonly Diagnostic[] }
  | { readonly kind: 'invalid'; readonly diagnostics: readonly Diagnostic[] };

/**
 * Compiles a rules file against a source's catalog. Whatever cannot be evaluated exactly as Postgres would is refused,
 * all problems of a file at once, each with its place; nothing is thrown for bad input.
 */
export async function parseAndCompile(yamlText: string, catalog: Catalog): Promise<CompileResult> {
  const text = yamlText.startsWith('\uFEFF') ? yamlText.slice(1) : yamlText;
  const sink = new DiagnosticSink(text);
  const raw = parseRulesFile(text, sink);
  const own = await compileStreams(raw.streams, catalog, sink);
  refuseTableConflicts(own, sink);
  const streams = own.map(({ plan }) => plan);
  const isComplete = own.length === raw.streams.length;
  const writes = raw.writes && compileWrites({ writes: raw.writes, streams, isComplete, catalog }, sink);
  if (raw.writes && hasWritesTables(raw.writes, catalog, sink)) {
    const added = await compileStreams(writesStreams(raw.writes.span), catalog, sink);
    streams.push(...added.map(({ plan }) => plan));
  }
  if (sink.hasErrors) return { kind: 'invalid', diagnostics: sink.errors };
  const rules = { streams, tables: tablesOf(streams), ...(writes ? { writes } : {}) };
  return { kind: 'ok', rules, warnings: sink.warnings };
}

interface CompiledStream {
  readonly raw: RawStream;
  readonly plan: StreamPlan;
}

async function compileStreams(
  streams: readonly RawStream[],
  catalog: Catalog,
  sink: DiagnosticSink,
): Promise<CompiledStream[]> {
  const compiled: CompiledStream[] = [];
  for (const raw of streams) {
    const query = await parseQuery(raw.query, sink);
    const plan = query && compileStream(raw, query, catalog, sink);
    if (plan) compiled.push({ raw, plan });
  }
  return compiled;
}

/** L12: a row that several streams hold is stored once, so they must agree on what it is. */
function refuseTableConflicts(compiled: readonly CompiledStream[], sink: DiagnosticSink): void {
  const firstByTable = new Map<string, StreamPlan>();
  for (const { raw, plan } of compiled) {
    const first = firstByTable.get(sqliteName(plan.table.name));
    if (!first) firstByTable.set(sqliteName(plan.table.name), plan);
    else if (shapeOf(first) !== shapeOf(plan)) {
      sink.refuse(raw.table?.span ?? raw.nameSpan, {
        code: 'RULES_TABLE_CONFLICT',
        message: `Streams ${first.name} and ${plan.name} both feed the client table ${quoted(plan.table.name)}, ${differenceOf(first, plan)}.`,
        hint: 'Select the same columns of the same table in the same order, or name another client table with `table:`.',
      });
    }
  }
}

function shapeOf({ table, sourceTable }: StreamPlan): string {
  return canonicalJson({ table, sourceTable });
}

function differenceOf(a: StreamPlan, b: StreamPlan): string {
  if (canonicalJson(a.sourceTable) !== canonicalJson(b.sourceTable)) return 'from different tables';
  return a.table.name === b.table.name ? 'with different columns' : 'written with different capitals';
}

function tablesOf(streams: readonly StreamPlan[]): readonly SourceTable[] {
  const byName = new Map<string, SourceTable>();
  for (const { sourceTable, memberships } of streams) {
    for (const table of [sourceTable, ...memberships.map((membership) => membership.table)]) {
      byName.set(`${table.schema}\0${table.name}`, table);
    }
  }
  return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, table]) => table);
}

import type { DiagnosticSink, Span } from './diagnostics.ts';
import { nearestName } from './nearest-name.ts';
import type { Catalog, CatalogColumn, CatalogTable } from './plan.ts';
import type { ColumnName, FromTable } from './query.ts';

/** One table in FROM and the names by which columns may be qualified. */
export interface Scope {
  readonly table: CatalogTable;
  readonly from: FromTable;
  /** The stream's own table, in a subquery. */
  readonly outer: Scope | undefined;
}

/** Unqualified tables are those of this schema, as under Postgres' default search_path. */
export const DEFAULT_SCHEMA = 'public';

/** Finds a table whose rows can be synced; otherwise tells the sink why not. */
export function resolveTable(catalog: Catalog, from: FromTable, sink: DiagnosticSink): CatalogTable | undefined {
  const schema = from.schema ?? DEFAULT_SCHEMA;
  const table = catalog.tables.find((candidate) => candidate.schema === schema && candidate.name === from.name);
  if (!table) {
    return sink.refuse(from.span, {
      code: 'RULES_TABLE_UNKNOWN',
      message: `There is no table ${quoted(schema)}.${quoted(from.name)} that the source's role can read.`,
      hint: unknownTableHint(catalog, schema, from.name),
    });
  }
  const kind = unsupportedKindOf(table);
  if (kind !== undefined) {
    return sink.refuse(from.span, {
      code: 'RULES_TABLE_UNSUPPORTED',
      message: `${quoted(from.name)} is ${kind}; its rows cannot be synced.`,
      hint: 'Read the ordinary tables that its rows come from.',
    });
  }
  if (table.partitionOf) {
    const root = `${quoted(table.partitionOf.schema)}.${quoted(table.partitionOf.name)}`;
    return sink.refuse(from.span, {
      code: 'RULES_TABLE_UNSUPPORTED',
      message: `${quoted(from.name)} is a partition of ${root}, under whose name its rows are replicated.`,
      hint: `Read ${root}; a condition on the partition key tells its partitions apart.`,
    });
  }
  if (table.hasInheritors) {
    return sink.refuse(from.span, {
      code: 'RULES_TABLE_UNSUPPORTED',
      message: `Other tables inherit from ${quoted(from.name)}: their rows, which a query of it shows, live elsewhere.`,
      hint: `Give each table that inherits from it a stream of its own, or run ALTER TABLE ... NO INHERIT ${quoted(schema)}.${quoted(from.name)}.`,
    });
  }
  if (table.primaryKey.length > 0) return table;
  return sink.refuse(from.span, {
    code: 'RULES_TABLE_NO_KEY',
    message: `${quoted(from.name)} has no primary key.`,
    hint: `Run: ALTER TABLE ${quoted(schema)}.${quoted(from.name)} ADD PRIMARY KEY (...);`,
  });
}

function unknownTableHint(catalog: Catalog, schema: string, name: string): string {
  const elsewhere = catalog.tables.find((table) => table.name === name);
  if (elsewhere) return `Did you mean ${quoted(elsewhere.schema)}.${quoted(name)}?`;
  const inSchema = catalog.tables.filter((table) => table.schema === schema).map((table) => table.name);
  const near = nearestName(name, inSchema);
  return near === undefined
    ? 'Check the name, its capitals (names in double quotes keep them) and the grants.'
    : `Did you mean ${quoted(near)}?`;
}

function unsupportedKindOf(table: CatalogTable): string | undefined {
  if (table.kind === 'v' || table.kind === 'm') return 'a view';
  if (table.kind === 'f') return 'a foreign table';
  if (table.kind !== 'r' && table.kind !== 'p') return 'not a table';
  if (table.kind === 'p' && table.persistence !== 'permanent')
    return 'a partitioned table with partitions whose changes are not logged (unlogged or foreign)';
  return table.persistence === 'permanent' ? undefined : `a table whose changes are not logged (${table.persistence})`;
}

/** Finds a column that replication carries; otherwise tells the sink why not. */
export function resolveColumn(scope: Scope, column: ColumnName, sink: DiagnosticSink): CatalogColumn | undefined {
  if (!isQualifierOf(scope, column.qualifier)) return refuseQualifier(scope, column, sink);
  const found = scope.table.columns.find((candidate) => candidate.name === column.name);
  if (found?.generated) {
    return sink.refuse(column.span, {
      code: 'RULES_COLUMN_GENERATED',
      message: `${quoted(column.name)} is a generated column, which replication does not carry.`,
      hint: 'Use the columns that it is computed from, or keep its value in an ordinary column by a trigger.',
    });
  }
  return found ?? refuseColumn(scope, column, sink);
}

/** Whether a name before a dot names the scope's table: an alias hides the table's own name, as in Postgres. */
export function isQualifierOf({ table, from }: Scope, qualifier: readonly string[]): boolean {
  const [first, second] = qualifier;
  if (first === undefined) return true;
  if (second !== undefined) return from.alias === undefined && first === table.schema && second === table.name;
  return first === (from.alias ?? table.name);
}

function refuseQualifier(scope: Scope, column: ColumnName, sink: DiagnosticSink): undefined {
  if (scope.outer && isQualifierOf(scope.outer, column.qualifier)) return refuseCorrelated(column.span, sink);
  return sink.refuse(column.span, {
    code: 'RULES_TABLE_UNKNOWN',
    message: `${column.qualifier.map(quoted).join('.')} is not the table in FROM.`,
    hint: `Here columns are written ${quoted(scope.from.alias ?? scope.table.name)}.column, or without a table.`,
  });
}

function refuseColumn(scope: Scope, column: ColumnName, sink: DiagnosticSink): undefined {
  const names = scope.table.columns.map((candidate) => candidate.name);
  const inOuter = scope.outer?.table.columns.some((candidate) => candidate.name === column.name) ?? false;
  // Postgres would silently take the outer table's column here, which makes the subquery true for every row.
  if (inOuter && column.qualifier.length === 0) return refuseCorrelated(column.span, sink);
  const near = nearestName(column.name, names);
  return sink.refuse(column.span, {
    code: 'RULES_COLUMN_UNKNOWN',
    message: `${quoted(scope.table.name)} has no column ${quoted(column.name)}.`,
    hint: near === undefined ? `Its columns are ${listed(names)}.` : `Did you mean ${quoted(near)}?`,
  });
}

function refuseCorrelated(span: Span, sink: DiagnosticSink): undefined {
  return sink.refuse(span, {
    code: 'RULES_SUBQUERY_UNSUPPORTED',
    message: "This is a column of the stream's table; a subquery reads its own table only.",
    hint: 'Use a column of the table in the subquery; move other conditions out of it.',
  });
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 12).map(quoted).join(', ');
  return names.length > 12 ? `${shown} and others` : shown;
}

/** An identifier as it would be written in SQL. */
export function quoted(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

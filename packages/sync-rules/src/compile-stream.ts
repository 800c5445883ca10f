import { sqliteTypeOf } from '@sluice/pg-values';
import { canonicalJson, inOrder } from './canonical-json.ts';
import { type CheckContext, checkCondition, sourceColumnOf } from './check-condition.ts';
import { checkMembership } from './check-membership.ts';
import { contentHashOf } from './content-hash.ts';
import type { DiagnosticSink, Span } from './diagnostics.ts';
import { type Atom, disjunctsOf, type Formula, TRUE } from './formula.ts';
import { LIMITS } from './limits.ts';
import {
  type BucketParam,
  type BucketPlan,
  type Catalog,
  type CatalogColumn,
  type CatalogTable,
  type ClientColumn,
  type ClientTable,
  type MembershipPlan,
  PLAN_VERSION,
  type StreamPlan,
} from './plan.ts';
import type { Query, SelectItem } from './query.ts';
import { isQualifierOf, quoted, resolveColumn, resolveTable, type Scope } from './resolve-names.ts';
import { rowIdentityOf } from './row-identity.ts';
import { clientNameProblem, type RawStream } from './rules-file.ts';

/** Checks one parsed stream against the catalog and makes its plan. */
export function compileStream(
  raw: RawStream,
  query: Query,
  catalog: Catalog,
  sink: DiagnosticSink,
): StreamPlan | undefined {
  const source = resolveTable(catalog, query.from, sink);
  if (!source) return undefined;
  const scope: Scope = { table: source, from: query.from, outer: undefined };
  const context: CheckContext = { catalog, sink, scope, checkSubquery: checkMembership };
  const table = compileTable(raw, query, scope, sink);
  const formula = query.where ? checkCondition(context, query.where) : TRUE;
  const branches = formula && compileBranches(formula, raw.query.span, sink);
  if (!table || !branches) return undefined;
  const plan: Omit<StreamPlan, 'contentHash'> = {
    version: PLAN_VERSION,
    name: raw.name,
    sourceTable: { schema: source.schema, name: source.name },
    table,
    ...branches,
  };
  const relations = relationsOf(source, branches.memberships, catalog);
  return { ...plan, ...rowStatesOf(relations), contentHash: contentHashOf(plan, relations) };
}

function rowStatesOf(relations: readonly CatalogTable[]): Pick<StreamPlan, 'rowStates'> {
  const names = relations
    .filter((table) => rowIdentityOf(table) === 'key')
    .map(({ schema, name }) => `${schema}.${name}`);
  return names.length === 0 ? {} : { rowStates: [...new Set(names)].sort() };
}

function relationsOf(
  source: CatalogTable,
  memberships: readonly MembershipPlan[],
  catalog: Catalog,
): readonly CatalogTable[] {
  const isRead = (table: CatalogTable) =>
    memberships.some(({ table: read }) => read.schema === table.schema && read.name === table.name);
  return [source, ...inOrder(catalog.tables.filter(isRead))];
}

interface Selected {
  readonly column: CatalogColumn;
  readonly name: string;
  readonly span: Span;
}

function compileTable(raw: RawStream, query: Query, scope: Scope, sink: DiagnosticSink): ClientTable | undefined {
  const name = raw.table?.name ?? scope.table.name;
  const problem = raw.isOurs ? undefined : clientNameProblem(name);
  if (problem !== undefined) {
    return sink.refuse(query.from.span, {
      code: 'RULES_NAME_INVALID',
      message: `${quoted(name)} cannot be a client table: ${problem}`,
      hint: 'Give the stream another client table with `table:`.',
    });
  }
  const selected = query.select.map((item) => selectedColumns(item, scope, sink));
  if (!selected.every((columns) => columns !== undefined)) return undefined;
  const columns = selected.flat();
  if (!namesDiffer(columns, sink)) return undefined;
  const key = keyAmong(columns, scope.table, query, sink);
  if (!key) return undefined;
  const rest = columns.filter((column) => !key.includes(column));
  return { name, columns: [...key, ...rest].map(clientColumnOf), keyColumns: key.length };
}

function clientColumnOf({ column, name }: Selected): ClientColumn {
  return {
    name,
    sqliteType: sqliteTypeOf(column.baseTypeOid),
    pgType: column.pgType,
    source: sourceColumnOf(column),
    baseTypeOid: column.baseTypeOid,
  };
}

function selectedColumns(item: SelectItem, scope: Scope, sink: DiagnosticSink): readonly Selected[] | undefined {
  if (item.kind === 'star') return starColumns(item, scope, sink);
  const column = resolveColumn(scope, item.column, sink);
  if (!column) return undefined;
  const name = item.alias ?? column.name;
  const problem = item.alias === undefined ? undefined : clientNameProblem(item.alias);
  if (problem === undefined) return [{ column, name, span: item.span }];
  return sink.refuse(item.span, {
    code: 'RULES_NAME_INVALID',
    message: problem,
    hint: 'Choose another name after AS.',
  });
}

function starColumns(
  item: Extract<SelectItem, { kind: 'star' }>,
  scope: Scope,
  sink: DiagnosticSink,
): readonly Selected[] | undefined {
  if (!isQualifierOf(scope, item.qualifier)) {
    return sink.refuse(item.span, {
      code: 'RULES_TABLE_UNKNOWN',
      message: `${item.qualifier.map(quoted).join('.')} is not the table in FROM.`,
      hint: `Write \`*\` or ${quoted(scope.from.alias ?? scope.table.name)}.*.`,
    });
  }
  for (const column of scope.table.columns) {
    if (!column.generated) continue;
    sink.warn(item.span, {
      code: 'RULES_COLUMN_GENERATED',
      message: `The generated column ${quoted(column.name)} is left out of \`*\`: replication does not carry it.`,
      hint: 'Compute it in the client, or list the columns to make this warning go away.',
    });
  }
  return scope.table.columns
    .filter((column) => !column.generated)
    .map((column) => ({ column, name: column.name, span: item.span }));
}

/** SQLite compares names without regard to the case of ASCII letters. */
export function sqliteName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function namesDiffer(columns: readonly Selected[], sink: DiagnosticSink): boolean {
  const seen = new Map<string, string>();
  let differ = true;
  for (const { name, span } of columns) {
    const earlier = seen.get(sqliteName(name));
    if (earlier !== undefined) {
      differ = false;
      sink.refuse(span, {
        code: 'RULES_COLUMN_DUPLICATE',
        message: `${quoted(name)} and ${quoted(earlier)} have one name in SQLite.`,
        hint: 'Select it once, or rename one with AS.',
      });
    }
    seen.set(sqliteName(name), name);
  }
  return differ;
}

function keyAmong(
  columns: readonly Selected[],
  table: CatalogTable,
  query: Query,
  sink: DiagnosticSink,
): readonly Selected[] | undefined {
  const key: Selected[] = [];
  for (const name of table.primaryKey) {
    const selected = columns.find(({ column }) => column.name === name);
    if (!selected) return refuseMissingKey(name, query, sink);
    if (sqliteTypeOf(selected.column.baseTypeOid) === 'ANY') {
      return sink.refuse(selected.span, {
        code: 'RULES_KEY_UNSUPPORTED',
        message: `The key column ${quoted(name)} is ${selected.column.pgType}: 0 and -0 are one key and two values.`,
        hint: 'Give the table a key of an integer, uuid, text or other exactly compared type.',
      });
    }
    key.push(selected);
  }
  return key;
}

function refuseMissingKey(name: string, query: Query, sink: DiagnosticSink): undefined {
  const first = query.select[0]?.span ?? query.from.span;
  const last = query.select.at(-1)?.span ?? first;
  return sink.refuse(
    { start: first.start, end: last.end },
    {
      code: 'RULES_KEY_NOT_SELECTED',
      message: `The primary key column ${quoted(name)} is not selected.`,
      hint: `Add ${quoted(name)} to the select list; clients store rows by it.`,
    },
  );
}

type Branches = Pick<StreamPlan, 'buckets' | 'memberships'>;

/** Disjuncts and memberships in an order that does not depend on how the rules were written, so that buckets keep. */
function compileBranches(formula: Formula, span: Span, sink: DiagnosticSink): Branches | undefined {
  const disjuncts = disjunctsOf(formula, LIMITS.disjunctsMax);
  if (disjuncts === 'too-many') {
    return refuseBranches(span, sink, `WHERE has more than ${LIMITS.disjunctsMax} alternatives`);
  }
  if (disjuncts.length === 0) {
    return sink.refuse(span, {
      code: 'RULES_NEVER_TRUE',
      message: 'WHERE can never be true, so this stream would never hold a row.',
      hint: 'Correct the condition, or remove the stream.',
    });
  }
  const memberships = inOrder(disjuncts.flatMap((atoms) => membershipsOf(atoms)));
  if (memberships.length > LIMITS.membershipsPerStreamMax) {
    return refuseBranches(span, sink, `WHERE reads more than ${LIMITS.membershipsPerStreamMax} memberships`);
  }
  const indexOf = new Map(memberships.map((membership, index) => [canonicalJson(membership), index]));
  const buckets: BucketPlan[] = [];
  for (const atoms of disjuncts) {
    const bucket = bucketFrom(atoms, (membership) => indexOf.get(canonicalJson(membership)) ?? -1);
    const problem = bucketProblem(bucket);
    if (problem !== undefined) return refuseBranches(span, sink, problem);
    buckets.push(bucket);
  }
  return { buckets: inOrder(buckets), memberships };
}

function membershipsOf(atoms: readonly Atom[]): readonly MembershipPlan[] {
  return atoms.flatMap((atom) => (atom.kind === 'membership-param' ? [atom.membership] : []));
}

function bucketFrom(atoms: readonly Atom[], indexOf: (membership: MembershipPlan) => number): BucketPlan {
  const params = atoms.flatMap((atom): readonly BucketParam[] => {
    if (atom.kind === 'claim-param') {
      return [{ column: atom.column, type: atom.type, from: { kind: 'claim', claim: atom.claim } }];
    }
    if (atom.kind !== 'membership-param') return [];
    const membership = indexOf(atom.membership);
    return [{ column: atom.column, type: atom.type, from: { kind: 'membership', membership } }];
  });
  return {
    filters: inOrder(atoms.flatMap((atom) => (atom.kind === 'row' ? [atom.filter] : []))),
    claimFilters: inOrder(atoms.flatMap((atom) => (atom.kind === 'token' ? [atom.filter] : []))),
    params: inOrder(params),
  };
}

function bucketProblem({ filters, claimFilters, params }: BucketPlan): string | undefined {
  if (filters.length + claimFilters.length + params.length > LIMITS.atomsPerDisjunctMax) {
    return `One alternative of WHERE has more than ${LIMITS.atomsPerDisjunctMax} conditions`;
  }
  const memberships = params.filter(({ from }) => from.kind === 'membership').length;
  return memberships > LIMITS.membershipsPerDisjunctMax
    ? `One alternative of WHERE has more than ${LIMITS.membershipsPerDisjunctMax} IN (SELECT ...)`
    : undefined;
}

function refuseBranches(span: Span, sink: DiagnosticSink, message: string): undefined {
  return sink.refuse(span, {
    code: 'RULES_TOO_MANY_BRANCHES',
    message: `${message} once AND and OR are multiplied out.`,
    hint: 'Write alternatives of one column as column IN (...), split the stream, or use a membership table.',
  });
}

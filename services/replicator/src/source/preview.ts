import { AppError } from '@sluice/errors';
import { type SourceConnection, SQLSTATE, sqlstateOf } from '@sluice/source-connection';
import type {
  ConditionExplanation,
  MembershipPreview,
  PreviewAs,
  RowExplanation,
  StreamExplanation,
  StreamPreview,
} from '@sluice/source-steps';
import {
  alternativesOf,
  type Condition,
  countStatement,
  explainStatement,
  membershipStatement,
  rowsStatement,
  type SourceStatement,
  type SourceTable,
  type StreamPlan,
} from '@sluice/sync-rules';
import { openSession, type SourceSession } from './connection.ts';
import { quoteTable } from './quote.ts';

/** A stream whose rows are not found within this time shows none. Milliseconds. */
const STREAM_MS_MAX = 2_000;
/** After so many streams that were not read in time the source is left alone. */
const SLOW_STREAMS_MAX = 5;
/** Rows are counted up to here. */
const COUNT_MAX = 100_000;
/** Values of a membership that are shown. */
const VALUES_MAX = 100;

const CANNOT_READ_TEXT = new Set(['22P02', '22003', '22007', '22008']);

/** As the statistics say, which cost nothing to read; partitions together. @throws AppError */
export async function estimateRows(
  connection: SourceConnection,
  tables: readonly SourceTable[],
): Promise<readonly number[]> {
  await using session = await openSession(connection);
  const rows = await session.query<{ readonly rows: number }>(
    `SELECT COALESCE((
       SELECT sum(greatest(c.reltuples, 0)) FROM pg_catalog.pg_class c
       WHERE c.relkind = 'r' AND c.oid IN (
         SELECT asked.oid UNION ALL SELECT p.relid FROM pg_catalog.pg_partition_tree(asked.oid) p)
     ), 0)::float8 AS rows
     FROM unnest($1::text[]) WITH ORDINALITY AS name (name, place)
     CROSS JOIN LATERAL (SELECT to_regclass(name.name)::oid AS oid) asked
     ORDER BY name.place`,
    [tables.map(quoteTable)],
  );
  return rows.map((row) => Math.round(row.rows));
}

/** What a user with these claims would get of each stream, as of one moment of the source. @throws AppError */
export async function previewStreams(
  connection: SourceConnection,
  streams: readonly StreamPlan[],
  { claims, rowsMax }: PreviewAs & { readonly rowsMax: number },
): Promise<readonly StreamPreview[]> {
  await using session = await openReading(connection);
  const previews: StreamPreview[] = [];
  let slowStreams = 0;
  for (const plan of streams) {
    const preview =
      slowStreams < SLOW_STREAMS_MAX
        ? await inTime(session, () => previewOf(session, plan, claims, rowsMax))
        : undefined;
    if (!preview) slowStreams++;
    previews.push(preview ?? slow(plan));
  }
  return previews;
}

async function previewOf(
  session: SourceSession,
  plan: StreamPlan,
  claims: PreviewAs['claims'],
  rowsMax: number,
): Promise<StreamPreview> {
  const rows = await textsOf(session, rowsStatement(plan, claims, rowsMax));
  const counted = rows.length < rowsMax ? rows.length : await countOf(session, countStatement(plan, claims, COUNT_MAX));
  return {
    ...headOf(plan),
    rows,
    count: counted,
    isCountExact: counted < COUNT_MAX,
    memberships: await membershipsOf(session, alternativesOf(plan, claims).flat()),
    code: undefined,
  };
}
function slow(plan: StreamPlan): StreamPreview {
  return { ...headOf(plan), rows: [], count: 0, isCountExact: false, memberships: [], code: 'RULES_PREVIEW_SLOW' };
}
function headOf({ name, table }: StreamPlan): Pick<StreamPreview, 'name' | 'table' | 'columns' | 'keyColumns'> {
  const columns = table.columns.map((column) => ({ name: column.name, pgType: column.pgType }));
  return { name, table: table.name, columns, keyColumns: table.keyColumns };
}

async function membershipsOf(session: SourceSession, conditions: readonly Condition[]): Promise<MembershipPreview[]> {
  const previews: MembershipPreview[] = [];
  const seen = new Set<string>();
  for (const condition of conditions) {
    if (!condition.membership || seen.has(condition.text)) continue;
    seen.add(condition.text);
    previews.push(await membershipOf(session, condition.membership));
  }
  return previews;
}
async function membershipOf(
  session: SourceSession,
  membership: NonNullable<Condition['membership']>,
): Promise<MembershipPreview> {
  const statement = membershipStatement(membership, VALUES_MAX + 1);
  const values = statement ? (await textsOf(session, statement)).map(([value]) => value ?? '') : [];
  const { table, output: column } = membership;
  return { table, column, values: values.slice(0, VALUES_MAX), isComplete: values.length <= VALUES_MAX };
}

/** Why a user with these claims would (not) see one row of a client's table. @throws AppError RULES_ROW_KEY_INVALID, RULES_TABLE_NOT_SYNCED, RULES_PREVIEW_SLOW */
export async function explainRow(
  connection: SourceConnection,
  allStreams: readonly StreamPlan[],
  { claims, table, key }: PreviewAs & { readonly table: string; readonly key: readonly string[] },
): Promise<RowExplanation> {
  const streams = allStreams.filter((plan) => plan.table.name === table);
  const [first] = streams;
  if (!first) throw new AppError('RULES_TABLE_NOT_SYNCED', { details: { table } });
  const keyNames = first.table.columns.slice(0, first.table.keyColumns).map(({ name }) => name);
  if (keyNames.length !== key.length) throw keyInvalid(keyNames);
  await using session = await openReading(connection);
  const row: Record<string, string | null> = {};
  const explanations: StreamExplanation[] = [];
  let isThere = false;
  for (const plan of streams) {
    const { statement, alternatives } = explainStatement(plan, claims, key);
    const found = await inTime(session, () => textsOf(session, statement)).catch((error: unknown) => {
      throw CANNOT_READ_TEXT.has(sqlstateOf(error) ?? '') ? keyInvalid(keyNames) : error;
    });
    if (!found) throw new AppError('RULES_PREVIEW_SLOW');
    const values = found[0];
    isThere ||= values !== undefined;
    plan.table.columns.forEach(({ name }, i) => {
      if (values) row[name] = values[i] ?? null;
    });
    explanations.push(await explanationOf(session, { plan, alternatives, values }));
  }
  return { isThere, row, streams: explanations };
}

async function explanationOf(
  session: SourceSession,
  of: {
    readonly plan: StreamPlan;
    readonly alternatives: readonly (readonly Condition[])[];
    readonly values: readonly (string | null)[] | undefined;
  },
): Promise<StreamExplanation> {
  const { plan, values } = of;
  const valueBySource = new Map(plan.table.columns.map(({ source }, i) => [source.name, values?.[i]]));
  let at = plan.table.columns.length;
  const alternatives: ConditionExplanation[][] = [];
  for (const conditions of of.alternatives) {
    const explained: ConditionExplanation[] = [];
    for (const { kind, text, column, claim, sql, membership } of conditions) {
      const held = values?.[at++];
      explained.push({
        kind,
        text,
        holds: held === undefined ? (kind === 'token' ? sql === 'true' : undefined) : held === 't',
        column,
        value: column === undefined ? undefined : valueBySource.get(column),
        claim,
        membership: membership && (await membershipOf(session, membership)),
      });
    }
    alternatives.push(explained);
  }
  const sees = values !== undefined && alternatives.some((conditions) => conditions.every(({ holds }) => holds));
  return { name: plan.name, sees, alternatives };
}
function keyInvalid(keyNames: readonly string[]): AppError {
  return new AppError('RULES_ROW_KEY_INVALID', { details: { columns: keyNames.join(', ') } });
}

/** A session in one read-only transaction, so that everything is seen as of one moment. */
async function openReading(connection: SourceConnection): Promise<SourceSession> {
  const session = await openSession(connection);
  try {
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    await session.query(`SET LOCAL statement_timeout = ${STREAM_MS_MAX}`);
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

/** Undefined when a statement took too long; the transaction goes on as if it had not been. */
async function inTime<T>(session: SourceSession, work: () => Promise<T>): Promise<T | undefined> {
  await session.query('SAVEPOINT stream');
  try {
    return await work();
  } catch (error) {
    if (sqlstateOf(error) !== SQLSTATE.queryCanceled) throw error;
    await session.query('ROLLBACK TO SAVEPOINT stream');
    return undefined;
  }
}

async function textsOf(session: SourceSession, { text, values }: SourceStatement): Promise<(string | null)[][]> {
  return await session.query<(string | null)[]>({ text, rowMode: 'array' }, values);
}
async function countOf(session: SourceSession, statement: SourceStatement): Promise<number> {
  return Number((await textsOf(session, statement))[0]?.[0] ?? 0);
}

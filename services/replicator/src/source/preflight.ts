import type { ProjectId } from '@sluice/domain';
import { AppError, type Code, isAppError } from '@sluice/errors';
import type { SourceConnection } from '@sluice/source-connection';
import { SQLSTATE, sqlstateOf } from '@sluice/source-connection';
import { type Catalog, type CatalogTable, rowIdentityOf, type SourceTable } from '@sluice/sync-rules';
import { catalogFromSession } from './catalog.ts';
import { openSession, type SourceSession } from './connection.ts';
import { isSlotOf } from './names.ts';
import { quoteIdentifier, quoteTable, tableKey } from './quote.ts';
import { readServerFacts, type ServerFacts } from './server-facts.ts';

/** One condition of replication. A warning is `ok` with a code. */
export interface CheckResult {
  /** Stable name, for a list in a user interface. */
  readonly check: string;
  readonly ok: boolean;
  readonly code?: Code;
  /** What to run on the source, ready to paste; not always all that is needed. */
  readonly sql?: string;
  readonly message: string;
}

const slotsNeeded = 2;
/** Each slot reads the whole server's WAL, in whichever database the writes are. */
const logicalSlotsMax = 10;
/** From 14 on pgoutput sends our messages (`messages` option); beyond 18 nothing was tried. */
const majorMin = 14;
const majorMax = 18;

/**
 * Checks everything that replication of `rulesTables` needs and reports all problems at once. Changes nothing on the
 * source. Without tables only the server and the role are judged. Never throws for what the customer can put right.
 * @param project whose slots and publications are no surprise
 */
export async function preflight(
  connection: SourceConnection,
  rulesTables: readonly SourceTable[] = [],
  project?: ProjectId,
): Promise<CheckResult[]> {
  let session: SourceSession;
  try {
    session = await openSession(connection);
  } catch (error) {
    return [connectFailure(error)];
  }
  await using ordinary = session;
  const facts = await readServerFacts(ordinary);
  const results = [
    passed('reachable'),
    ...serverChecks(facts),
    ...loadChecks(facts, project),
    await replicationCheck(connection, facts),
  ];
  if (rulesTables.length > 0) results.push(...(await tableChecks(ordinary, facts, rulesTables)));
  return results;
}

/** The first failed check as an error that names all of them, or undefined. */
export function preflightError(results: readonly CheckResult[]): AppError | undefined {
  const failed = results.filter((result) => !result.ok);
  const code = failed[0]?.code;
  if (code === undefined) return undefined;
  return new AppError(code, {
    details: { failed: failed.map((result) => result.check), sql: failed.flatMap((result) => result.sql ?? []) },
  });
}

function passed(check: string): CheckResult {
  return { check, ok: true, message: 'ok' };
}
function failed(check: string, code: Code, details: Record<string, string> = {}, sql?: string): CheckResult {
  const error = new AppError(code, { details });
  const message = `${error.publicMessage} ${error.remedy}`;
  return sql === undefined ? { check, ok: false, code, message } : { check, ok: false, code, message, sql };
}
function warned(check: string, code: Code): CheckResult {
  const error = new AppError(code);
  return { check, ok: true, code, message: `${error.publicMessage} ${error.remedy}` };
}

const checkByConnectCode: Readonly<Partial<Record<Code, string>>> = {
  SOURCE_PASSWORD: 'password',
  SOURCE_ENCODING: 'encoding',
};

function connectFailure(error: unknown): CheckResult {
  if (!isAppError(error)) throw error;
  return failed(checkByConnectCode[error.code] ?? 'reachable', error.code);
}

function serverChecks(facts: ServerFacts): CheckResult[] {
  const role = quoteIdentifier(facts.role);
  const major = Math.floor(facts.versionNumber / 10_000);
  return [
    passed('password'),
    major >= majorMin && major <= majorMax
      ? passed('version')
      : failed('version', 'SOURCE_VERSION', { version: facts.version }),
    // The server hands out the bytes of such a database as they are, whatever encoding a session asks for.
    facts.encoding === 'SQL_ASCII' ? failed('encoding', 'SOURCE_ENCODING') : passed('encoding'),
    facts.isStandby ? failed('primary', 'SOURCE_STANDBY') : passed('primary'),
    facts.walLevel === 'logical'
      ? passed('wal-level')
      : failed('wal-level', 'SOURCE_WAL_LEVEL', {}, "ALTER SYSTEM SET wal_level = 'logical';"),
    facts.mayReplicate
      ? passed('replication-role')
      : failed('replication-role', 'SOURCE_ROLE_REPLICATION', { role }, `ALTER ROLE ${role} REPLICATION;`),
    facts.slotsFree >= slotsNeeded ? passed('slots') : failed('slots', 'SOURCE_SLOTS_FULL'),
    facts.sendersFree >= slotsNeeded ? passed('senders') : failed('senders', 'SOURCE_SENDERS_FULL'),
    facts.mayEmitMessage
      ? passed('heartbeat')
      : failed(
          'heartbeat',
          'SOURCE_MESSAGE_DENIED',
          {},
          `GRANT EXECUTE ON FUNCTION ${facts.emitMessageSignature} TO ${role};`,
        ),
  ];
}

/** What works, at a cost for the server. */
function loadChecks(facts: ServerFacts, project: ProjectId | undefined): CheckResult[] {
  const isForeign = (slot: string): boolean => project === undefined || !isSlotOf(project, slot);
  return [
    facts.slotWalBytesMax === undefined ? warned('wal-budget', 'SOURCE_WAL_BUDGET') : passed('wal-budget'),
    facts.logicalSlots > logicalSlotsMax ? warned('slot-count', 'SOURCE_SLOTS_MANY') : passed('slot-count'),
    facts.sluiceSlots.some(isForeign) ? warned('own-database', 'SOURCE_DATABASE_SHARED') : passed('own-database'),
  ];
}

/** Opens a replication session, which a pooler cannot give. */
async function replicationCheck(connection: SourceConnection, facts: ServerFacts): Promise<CheckResult> {
  // Without the right or the level the server refuses the session, and another check has said so.
  if (!facts.mayReplicate) return passed('direct-connection');
  try {
    await using session = await openSession(connection, 'replication');
    await session.query('IDENTIFY_SYSTEM');
    return passed('direct-connection');
  } catch (error) {
    if (!isAppError(error)) throw error;
    const state = sqlstateOf(error);
    const isRefused = state === SQLSTATE.protocolViolation || state === '0A000' || state === '42601';
    return failed('direct-connection', isRefused ? 'SOURCE_POOLER' : error.code);
  }
}

interface TableRights {
  readonly oid: number;
  readonly owner: string;
  readonly maySelect: boolean;
  readonly mayPublish: boolean;
  /** Row-level security is in force for this role. */
  readonly isFiltered: boolean;
  readonly hasVirtualColumn: boolean;
  /** Each partition has a replica identity of its own; these are not FULL. */
  readonly weakPartitions: readonly SourceTable[];
}
const RIGHTS_SQL = `
SELECT c.oid::int8::float8 AS oid, o.rolname AS owner,
  pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "maySelect",
  pg_catalog.pg_has_role(c.relowner, 'USAGE') AS "mayPublish",
  pg_catalog.row_security_active(c.oid) AS "isFiltered",
  EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped) AS "hasVirtualColumn",
  CASE WHEN c.relkind = 'p' THEN (
    SELECT COALESCE(json_agg(json_build_object('schema', n.nspname, 'name', p.relname) ORDER BY p.oid), '[]')
    FROM pg_catalog.pg_partition_tree(c.oid) t
    JOIN pg_catalog.pg_class p ON p.oid = t.relid AND p.oid <> c.oid AND p.relreplident <> 'f'
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
  ) ELSE '[]' END AS "weakPartitions"
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
WHERE c.oid = ANY ($1::oid[])`;

interface JudgedTable {
  readonly table: SourceTable;
  readonly found: CatalogTable | undefined;
  readonly rights: TableRights | undefined;
}

async function tableChecks(
  session: SourceSession,
  facts: ServerFacts,
  tables: readonly SourceTable[],
): Promise<CheckResult[]> {
  const catalog: Catalog = await catalogFromSession(session);
  const byKey = new Map(catalog.tables.map((table) => [tableKey(table), table]));
  const found = tables.map((table) => byKey.get(tableKey(table)));
  const oids = found.flatMap((table) => (table ? [table.oid] : []));
  const rights = new Map((await session.query<TableRights>(RIGHTS_SQL, [oids])).map((row) => [row.oid, row]));
  const judged = tables.map((table, i): JudgedTable => {
    const entry = found[i];
    return { table, found: entry, rights: entry && rights.get(entry.oid) };
  });
  return judgeTables(judged, facts);
}

function isPublishable({ kind, persistence, partitionOf, hasInheritors }: CatalogTable): boolean {
  const isTable = (kind === 'r' && !hasInheritors && !partitionOf) || kind === 'p';
  return isTable && persistence === 'permanent';
}

/** Which identity each table has, and what it costs; no table need change. */
function identityReport(present: readonly JudgedTable[]): CheckResult {
  const lines = present.flatMap(({ table, found }) => {
    if (!found || rowIdentityOf(found) === 'none') return [];
    const cost = rowIdentityOf(found) === 'full' ? FULL_COST : KEY_COST;
    return [`${quoteTable(table)}: ${found.replicaIdentity.toUpperCase()}; ${cost}`];
  });
  return { check: 'replica-identity-cost', ok: true, message: lines.join('\n') || 'ok' };
}
const FULL_COST =
  'updates and deletes write the whole old row to the WAL of the source, and no copy of it is kept here.';
const KEY_COST =
  'the source writes no more WAL than it does now; the columns that streams read are kept here a second time, and changes are applied more slowly. REPLICA IDENTITY FULL turns that around.';

function judgeTables(judged: readonly JudgedTable[], facts: ServerFacts): CheckResult[] {
  const role = quoteIdentifier(facts.role);
  const present = judged.filter(({ found }) => found !== undefined && isPublishable(found));
  const check = (
    name: string,
    code: Code,
    bad: readonly JudgedTable[],
    sqlOf?: (table: SourceTable, rights: TableRights | undefined) => string,
  ): CheckResult => {
    if (bad.length === 0) return passed(name);
    const sql = sqlOf && bad.map(({ table, rights }) => sqlOf(table, rights)).join('\n');
    return failed(name, code, { tables: bad.map(({ table }) => quoteTable(table)).join(', ') }, sql);
  };
  return [
    check(
      'tables',
      'SOURCE_TABLE_MISSING',
      judged.filter((entry) => !present.includes(entry)),
    ),
    check(
      'select',
      'SOURCE_SELECT_DENIED',
      present.filter(({ rights }) => !rights?.maySelect),
      (table) =>
        `GRANT USAGE ON SCHEMA ${quoteIdentifier(table.schema)} TO ${role}; GRANT SELECT ON ${quoteTable(table)} TO ${role};`,
    ),
    check(
      'row-security',
      'SOURCE_ROW_SECURITY',
      present.filter(({ rights }) => rights?.isFiltered),
    ),
    check(
      'replica-identity',
      'SOURCE_REPLICA_IDENTITY',
      present.filter(({ found }) => found && rowIdentityOf(found) === 'none'),
      (table, rights) =>
        [table, ...(rights?.weakPartitions ?? [])]
          .map((each) => `ALTER TABLE ${quoteTable(each)} REPLICA IDENTITY FULL;`)
          .join('\n'),
    ),
    identityReport(present),
    check(
      'generated-columns',
      'SOURCE_GENERATED_COLUMN',
      present.filter(({ found, rights }) => found?.replicaIdentity === 'full' && rights?.hasVirtualColumn),
    ),
    check(
      'primary-key',
      'SOURCE_PRIMARY_KEY',
      present.filter(({ found }) => found?.primaryKey.length === 0),
      (table) => `ALTER TABLE ${quoteTable(table)} ADD PRIMARY KEY (...);`,
    ),
    check(
      'publish',
      'SOURCE_PUBLICATION_DENIED',
      present.filter(({ rights }) => !facts.mayCreate || !rights?.mayPublish),
      (_table, rights) =>
        `GRANT CREATE ON DATABASE ${quoteIdentifier(facts.database)} TO ${role}; GRANT ${quoteIdentifier(rights?.owner ?? '')} TO ${role};`,
    ),
  ];
}

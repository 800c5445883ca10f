import type { SourceSession } from './connection.ts';

/** What a session can tell about the server, its role and its room, in one statement. */
export interface ServerFacts {
  /** server_version_num, such as 180004. */
  readonly versionNumber: number;
  readonly version: string;
  readonly isStandby: boolean;
  readonly walLevel: string;
  readonly role: string;
  readonly isSuperuser: boolean;
  readonly mayReplicate: boolean;
  readonly mayEmitMessage: boolean;
  /** Name and argument types, which differ between versions. */
  readonly emitMessageSignature: string;
  readonly mayCreate: boolean;
  readonly database: string;
  readonly databaseOid: number;
  /** As pg_encoding_to_char names it: UTF8, LATIN1, SQL_ASCII. */
  readonly encoding: string;
  readonly slotsFree: number;
  /** Slots of every database on the server that decode its WAL. */
  readonly logicalSlots: number;
  /** Slots in this database that are named as ours are, whoever's they are. */
  readonly sluiceSlots: readonly string[];
  readonly sendersFree: number;
  /** 0 when the server never cuts a silent receiver. */
  readonly walSenderTimeoutMs: number;
  /** undefined when slots may keep WAL without bound. */
  readonly slotWalBytesMax: number | undefined;
}

/** rds_replication is what RDS and Aurora give in place of the attribute. */
const FACTS_SQL = `
SELECT current_setting('server_version_num')::int AS "versionNumber", current_setting('server_version') AS version,
  pg_catalog.pg_is_in_recovery() AS "isStandby", current_setting('wal_level') AS "walLevel",
  r.rolname AS role, r.rolsuper AS "isSuperuser",
  r.rolsuper OR r.rolreplication OR EXISTS (
    SELECT FROM pg_catalog.pg_roles m
    WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, m.oid, 'USAGE')
  ) AS "mayReplicate",
  pg_catalog.has_function_privilege(f.oid, 'EXECUTE') AS "mayEmitMessage",
  'pg_catalog.' || f.oid::regprocedure::text AS "emitMessageSignature",
  pg_catalog.has_database_privilege(d.oid, 'CREATE') AS "mayCreate",
  d.datname AS database, d.oid::int8::float8 AS "databaseOid",
  pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
  current_setting('max_replication_slots')::int
    - (SELECT count(*) FROM pg_catalog.pg_replication_slots)::int AS "slotsFree",
  (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_type = 'logical')::int AS "logicalSlots",
  ARRAY(
    SELECT slot_name::text FROM pg_catalog.pg_replication_slots
    WHERE database = d.datname AND starts_with(slot_name::text, 'sluice_') ORDER BY slot_name
  ) AS "sluiceSlots",
  current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_catalog.pg_stat_replication)::int AS "sendersFree",
  (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout') AS "walSenderTimeoutMs",
  (SELECT setting::float8 * 1048576 FROM pg_catalog.pg_settings
   WHERE name = 'max_slot_wal_keep_size' AND setting::int8 >= 0) AS "slotWalBytesMax"
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d, pg_catalog.pg_proc f
WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()
  AND f.proname = 'pg_logical_emit_message' AND f.proargtypes[2] = 'pg_catalog.text'::regtype
  AND f.pronamespace = 'pg_catalog'::regnamespace`;

/** @throws AppError */
export async function readServerFacts(session: SourceSession): Promise<ServerFacts> {
  const [facts] = await session.query<ServerFacts & { slotWalBytesMax: number | null }>(FACTS_SQL);
  if (!facts) throw new Error('the server did not describe itself');
  return { ...facts, slotWalBytesMax: facts.slotWalBytesMax ?? undefined };
}

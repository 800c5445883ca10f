import { defineCodes } from '../code.ts';

const protocolCodes = defineCodes({
  SOURCE_PROTOCOL: {
    what: 'The source sent replication bytes that do not follow the protocol.',
    who: 'operator',
    how: 'Nothing after them was read, and the last checkpoint stays. Make sure that the connection leads straight to a supported Postgres server and not to a pooler or a proxy that rewrites messages, then resume the project.',
    retry: 'wait',
  },
  SOURCE_VALUE: {
    what: 'The source sent a value that is not written as its column type should be.',
    who: 'tenant',
    how: 'Nothing after it was read, and the last checkpoint stays. Make sure that nothing between us and the database (a pooler, a proxy, a login trigger) changes DateStyle, IntervalStyle, TimeZone, extra_float_digits or bytea_output of our sessions, then resume the project. Type OID: {typeOid}.',
    retry: 'wait',
  },
});

const connectionCodes = defineCodes({
  SOURCE_UNREACHABLE: {
    what: 'The source does not answer.',
    who: 'tenant',
    how: 'Make sure that the server runs and that its host, port and firewall let us in. We keep trying; clients keep their last checkpoint.',
    retry: 'retry',
  },
  SOURCE_PASSWORD: {
    what: 'The source refused the user name or the password.',
    who: 'tenant',
    how: 'Set the connection again with the right user and password, and check that pg_hba.conf lets the role in from our address.',
    retry: 'wait',
  },
  SOURCE_DATABASE_MISSING: {
    what: 'The source has no such database, or the role may not connect to it.',
    who: 'tenant',
    how: 'Correct the database in the connection, or grant CONNECT on it to the role.',
    retry: 'wait',
  },
  SOURCE_TLS: {
    what: 'The encrypted connection to the source could not be verified.',
    who: 'tenant',
    how: 'Turn on TLS at the server with a certificate for its host name; give the certificate authority if it is a private one.',
    retry: 'wait',
  },
  SOURCE_POOLER: {
    what: 'The connection leads to a pooler, which cannot carry replication.',
    who: 'tenant',
    how: 'Use the direct address of the database, usually another host name or port 5432.',
    retry: 'wait',
  },
  SOURCE_ENCODING: {
    what: 'The text of the database cannot be had as UTF-8.',
    who: 'tenant',
    how: 'Use a database whose encoding is UTF8 or one that Postgres converts to it. SQL_ASCII vouches for no encoding: dump such a database and restore it into one with ENCODING UTF8; bytes that are not UTF-8 are named by the restore.',
    retry: 'wait',
  },
  SOURCE_STANDBY: {
    what: 'The server is a standby, on which no publication can be made.',
    who: 'tenant',
    how: 'Connect to the primary.',
    retry: 'wait',
  },
  SOURCE_VERSION: {
    what: 'The version of Postgres is not supported.',
    who: 'tenant',
    how: 'Use Postgres 14 to 18; this server is {version}. Before 14 the messages that we write into the WAL (heartbeats, the start of a new stream) do not reach a slot.',
    retry: 'wait',
  },
  SOURCE_QUERY: {
    what: 'The source refused a statement that we need.',
    who: 'tenant',
    how: 'Look up SQLSTATE {sqlstate} and put right what it names; we keep trying.',
    retry: 'retry',
  },
  SOURCE_LOCKED: {
    what: 'A table is locked on the source, or another session waited to lock one that our copy was reading.',
    who: 'nobody',
    how: 'Nothing to do: the copy stood back and goes on where it was. If it never gets on, end the session that keeps the table locked; pg_locks and pg_stat_activity name it.',
    retry: 'retry',
  },
  REPLICATOR_STOPPED: {
    what: 'The process that worked on the source is stopping.',
    who: 'nobody',
    how: 'Nothing to do: the request is tried again by another process, or by the next one.',
    retry: 'retry',
  },
  SOURCE_LEASE_HELD: {
    what: 'Another process works on this source.',
    who: 'nobody',
    how: 'Nothing to do: the request is tried again when that process is done or gone.',
    retry: 'retry',
  },
});

const settingCodes = defineCodes({
  SOURCE_WAL_LEVEL: {
    what: 'The server does not write the WAL that logical replication needs.',
    who: 'tenant',
    how: "Run ALTER SYSTEM SET wal_level = 'logical'; and restart the server. On a managed service, turn on its switch for logical replication.",
    retry: 'wait',
  },
  SOURCE_ROLE_REPLICATION: {
    what: 'The role may not replicate.',
    who: 'tenant',
    how: 'As a superuser run ALTER ROLE {role} REPLICATION; or use what your managed service gives for it.',
    retry: 'wait',
  },
  SOURCE_SELECT_DENIED: {
    what: 'The role may not read a table that the rules need.',
    who: 'tenant',
    how: 'Grant USAGE on the schema and SELECT on {tables} to the role.',
    retry: 'wait',
  },
  SOURCE_ROW_SECURITY: {
    what: 'Row-level security hides rows of a table from the role, so a copy would be incomplete.',
    who: 'tenant',
    how: 'Give the role BYPASSRLS, or make it the owner of {tables} without FORCE ROW LEVEL SECURITY.',
    retry: 'wait',
  },
  SOURCE_TABLE_MISSING: {
    what: 'A table that the rules need is not there, or its rows cannot be replicated under its name.',
    who: 'tenant',
    how: 'Create {tables} as an ordinary or partitioned table, logged, with no other table inheriting from it, or correct the rules.',
    retry: 'wait',
  },
  SOURCE_REPLICA_IDENTITY: {
    what: 'Updates and deletes of a table do not tell which row they were of.',
    who: 'tenant',
    how: 'Give {tables} a replica identity that holds the primary key: ALTER TABLE ... REPLICA IDENTITY DEFAULT where there is one (not deferrable), USING INDEX, or FULL; of a partitioned table FULL, as of all its partitions. Until then they are not published, since publishing could make your own updates fail.',
    retry: 'wait',
  },
  SOURCE_GENERATED_COLUMN: {
    what: 'A table of replica identity FULL has a virtual generated column, which Postgres cannot replicate: while such a table is published, your own updates and deletes of it fail.',
    who: 'tenant',
    how: 'Make the column STORED (ALTER TABLE ... ADD COLUMN makes it virtual unless told otherwise), or give {tables} the replica identity DEFAULT. We publish nothing until then, so that your writes go on; afterwards everything is copied again.',
    retry: 'wait',
  },
  SOURCE_PRIMARY_KEY: {
    what: 'A table has no primary key.',
    who: 'tenant',
    how: 'Add one to {tables}; clients keep rows by it.',
    retry: 'wait',
  },
  SOURCE_PUBLICATION_DENIED: {
    what: 'The role may not publish the tables that the rules need.',
    who: 'tenant',
    how: 'Grant CREATE on the database to the role and make it a member of the role that owns {tables}.',
    retry: 'wait',
  },
  SOURCE_SLOTS_FULL: {
    what: 'The server has no replication slot left.',
    who: 'tenant',
    how: 'Raise max_replication_slots (at least two more than are in use) and restart, or drop slots that nobody uses.',
    retry: 'wait',
  },
  SOURCE_SENDERS_FULL: {
    what: 'The server has no WAL sender left.',
    who: 'tenant',
    how: 'Raise max_wal_senders (at least two more than are in use) and restart, or end replication that nobody needs.',
    retry: 'wait',
  },
  SOURCE_MESSAGE_DENIED: {
    what: 'The role may not write the messages that keep an idle source moving.',
    who: 'tenant',
    how: 'Grant EXECUTE on the function pg_catalog.pg_logical_emit_message (of text) to the role.',
    retry: 'wait',
  },
  SOURCE_WAL_BUDGET: {
    what: 'The server does not bound the WAL that a slot may keep; or our slot is near that bound or our own, or was dropped for passing it.',
    who: 'tenant',
    how: 'Set max_slot_wal_keep_size to what your disk can spare, well above what you write in an hour. Our slot keeps WAL while changes cannot be stored; past our own bound we drop it rather than fill your disk, and copy everything again when changes can be stored.',
    retry: 'wait',
  },
  SOURCE_SLOTS_MANY: {
    what: 'The server has many logical replication slots, and each one reads all of its WAL.',
    who: 'tenant',
    how: 'Drop slots that nobody needs, let one consumer serve several needs, or spread the databases over more servers. Every slot costs about the processor time of one more replica, also for writes in other databases.',
    retry: 'give-up',
  },
  SOURCE_DATABASE_SHARED: {
    what: 'Another project, here or in another installation, follows this database with a slot of its own.',
    who: 'tenant',
    how: 'Put the streams of both into one project, so that one slot serves them; or accept that the server decodes its WAL twice and keeps it for the slower of the two. If the other project is gone, drop its slot, whose name begins with sluice_.',
    retry: 'give-up',
  },
});

const streamCodes = defineCodes({
  SLOT_BLOCKED: {
    what: 'The replication slot cannot be made while an older transaction is open.',
    who: 'tenant',
    how: 'End the transaction of process {pid} (or roll back the prepared transaction {prepared}); we try again.',
    retry: 'retry',
  },
  SLOT_LOST: {
    what: 'The replication slot is gone or was invalidated.',
    who: 'nobody',
    how: 'Nothing to do: everything is copied again under a new slot while clients keep the last checkpoint. If it repeats, raise max_slot_wal_keep_size and see that nobody drops slots of ours.',
    retry: 'retry',
  },
  SOURCE_HISTORY_CHANGED: {
    what: 'The source is not the one that was followed so far: it was restored, failed over, or its slot was moved.',
    who: 'nobody',
    how: 'Nothing to do: everything is copied again while clients keep the last checkpoint.',
    retry: 'retry',
  },
  PUBLICATION_CHANGED: {
    what: 'Our publication was altered or dropped, so changes may have been missed.',
    who: 'nobody',
    how: 'Nothing to do: everything is copied again while clients keep the last checkpoint. See that nobody alters publications of ours.',
    retry: 'retry',
  },
  SCHEMA_CHANGED: {
    what: 'A table changed so that the rules no longer fit it.',
    who: 'tenant',
    how: 'Undo the change, or deploy rules that fit. Table: {table}. Clients keep the last checkpoint until then.',
    retry: 'wait',
  },
  SCHEMA_CHANGING: {
    what: 'A table changed while we made ready to copy it.',
    who: 'nobody',
    how: 'Nothing to do: it is looked at again as it is now. Table: {table}.',
    retry: 'retry',
  },
  SCHEMA_RELOADING: {
    what: 'A table changed, and its rows are being copied again.',
    who: 'nobody',
    how: 'Nothing to do: clients keep the last checkpoint until the copy is complete.',
    retry: 'retry',
  },
  SOURCE_ROW_OVERSIZED: {
    what: 'A row of a source table, all its columns together, is larger than we read, and was left out of every stream.',
    who: 'tenant',
    how: 'Keep large values out of synced tables, also in columns that no stream selects. Table: {table}; the largest row may have {bytesMax} bytes. A row that is smaller but whose selected columns are too large for clients is reported as ROW_TOO_LARGE.',
    retry: 'give-up',
  },
  SOURCE_LAGGING: {
    what: 'Changes arrive from the source faster than they can be stored, or none has been stored for a while.',
    who: 'operator',
    how: 'Look at the lag, the queue and the bucket store; nothing is lost, the slot keeps {retainedBytes} bytes.',
    retry: 'retry',
  },
});

/** Connecting to a source, and reading its WAL. */
export const sourceCodes = { ...protocolCodes, ...connectionCodes, ...settingCodes, ...streamCodes };

import { type Clock, type Lsn, parseLsn } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type { SourceConnection } from '@sluice/source-connection';
import { SQLSTATE, sqlstateOf } from '@sluice/source-connection';
import { openSession, type SourceSession } from './connection.ts';
import { quoteIdentifier } from './quote.ts';

/** A slot that was just made, with the snapshot of its consistent point. */
export interface CreatedSlot extends AsyncDisposable {
  /** Commits whose record begins below it are in the snapshot; those at or above it will be streamed. */
  readonly consistentPoint: Lsn;
  /**
   * Name of the exported snapshot. It is gone after the next command on the session that made the slot, which is why
   * that session stays open and silent until this object is disposed.
   */
  readonly snapshot: string;
}

export interface CreateSlotOptions {
  readonly connection: SourceConnection;
  readonly slot: string;
  /** A temporary slot lives until disposal; it serves only to get a consistent point. */
  readonly isTemporary: boolean;
  /** Whether a standby that becomes the primary should have it, where the server can do that (version 17 and later). */
  readonly survivesFailover: boolean;
  /** Slot creation waits for every transaction that is writing. */
  readonly deadlineMs: number;
  readonly clock: Clock;
}

/**
 * Makes a logical slot and exports its snapshot.
 * @throws AppError SLOT_BLOCKED when older transactions keep it from being made in time, naming one; others as statements give.
 */
export async function createSlot(options: CreateSlotOptions): Promise<CreatedSlot> {
  const { connection, slot, isTemporary, clock } = options;
  const session = await openSession(connection, 'replication');
  const [backend] = await session.query<{ pid: number; version: number }>(
    "SELECT pg_catalog.pg_backend_pid() AS pid, current_setting('server_version_num')::int AS version",
  );
  let isLate = false;
  const cancel = clock.setTimer(options.deadlineMs, () => {
    isLate = true;
    session.destroy();
  });
  try {
    const [row] = await session.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot)} ${isTemporary ? 'TEMPORARY ' : ''}LOGICAL pgoutput ${slotOptions(options, backend?.version ?? 0)}`,
    );
    if (!row) throw new AppError('SOURCE_PROTOCOL', { internal: 'no answer to CREATE_REPLICATION_SLOT' });
    return {
      consistentPoint: parseLsn(row.consistent_point),
      snapshot: row.snapshot_name,
      [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    };
  } catch (error) {
    session.destroy();
    if (isLate) throw await blockedError(connection, backend?.pid ?? 0);
    throw isOutOfSlots(error) ? new AppError('SOURCE_SLOTS_FULL', { cause: error }) : error;
  } finally {
    cancel();
  }
}

/** The first version whose slots a standby can keep in step. */
const failoverVersion = 170_000;

function slotOptions({ survivesFailover, isTemporary }: CreateSlotOptions, version: number): string {
  // The form with options in parentheses is unknown before version 15; the other one is understood by all.
  const isFailover = survivesFailover && !isTemporary && version >= failoverVersion;
  return isFailover ? "(SNAPSHOT 'export', FAILOVER true)" : 'EXPORT_SNAPSHOT';
}

function isOutOfSlots(error: unknown): boolean {
  return sqlstateOf(error) === '53400' || (isAppError(error) && /all replication slots are in use/.test(error.message));
}

/** The oldest transaction that writes, and prepared ones, which block until somebody resolves them. */
const BLOCKER_SQL = `
SELECT (SELECT pid FROM pg_catalog.pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid NOT IN (pg_catalog.pg_backend_pid(), $1) ORDER BY xact_start LIMIT 1) AS pid,
  (SELECT gid FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 1) AS prepared`;

async function blockedError(connection: SourceConnection, waitingPid: number): Promise<AppError> {
  await using session = await openSession(connection);
  const [blocker] = await session.query<{ pid: number | null; prepared: string | null }>(BLOCKER_SQL, [waitingPid]);
  // The server notices a lost client only when the wait ends, and would leave the slot behind.
  await session.query('SELECT pg_catalog.pg_terminate_backend($1)', [waitingPid]);
  return new AppError('SLOT_BLOCKED', {
    details: { pid: blocker?.pid ?? null, prepared: blocker?.prepared ?? null },
  });
}

/** How a slot stands on the server. */
export interface SlotState {
  readonly confirmed: Lsn | undefined;
  readonly activePid: number | undefined;
  readonly isLost: boolean;
  /** Bytes of WAL that the slot keeps on the server's disk. */
  readonly retainedBytes: number;
  /** Bytes that may still be written before the server gives the slot up; undefined without a bound. */
  readonly safeBytes: number | undefined;
}
/** Why a slot was given up has a column of its own from version 17 on. What the server says in words differs in each. */
const STATE_SQL = `
SELECT confirmed_flush_lsn::text AS confirmed, active_pid AS "activePid",
  COALESCE(wal_status = 'lost', false) OR restart_lsn IS NULL
    OR pg_catalog.to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL AS "isLost",
  COALESCE(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::float8 AS "retainedBytes",
  safe_wal_size::float8 AS "safeBytes"
FROM pg_catalog.pg_replication_slots s
WHERE slot_name = $1 AND plugin = 'pgoutput' AND database = pg_catalog.current_database()`;

/** Undefined when there is no such slot. @throws AppError */
export async function readSlotState(session: SourceSession, slot: string): Promise<SlotState | undefined> {
  interface Row {
    readonly confirmed: string | null;
    readonly activePid: number | null;
    readonly isLost: boolean;
    readonly retainedBytes: number;
    readonly safeBytes: number | null;
  }
  const [row] = await session.query<Row>(STATE_SQL, [slot]);
  return (
    row && {
      confirmed: row.confirmed === null ? undefined : parseLsn(row.confirmed),
      activePid: row.activePid ?? undefined,
      isLost: row.isLost,
      retainedBytes: row.retainedBytes,
      safeBytes: row.safeBytes ?? undefined,
    }
  );
}

/** Bytes of WAL that the slot's reader has not confirmed yet; 0 without the slot. @throws AppError */
export async function readConfirmedLag(session: SourceSession, slot: string): Promise<number> {
  const [row] = await session.query<{ bytes: number | null }>(
    `SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), confirmed_flush_lsn)::float8 AS bytes
    FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
    [slot],
  );
  return row?.bytes ?? 0;
}

/** Ends whoever still streams from the slot. Only after fencing: the other one may be alive. @throws AppError */
export async function terminateHolder(session: SourceSession, slot: string): Promise<void> {
  await session.query(
    'SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL',
    [slot],
  );
}

const dropAttemptsMax = 50;
const dropPauseMs = 100;

/** Drops a slot of ours, ending its holder; nothing happens when it is gone. @throws AppError */
export async function dropSlot(session: SourceSession, slot: string, clock: Clock): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await terminateHolder(session, slot);
    try {
      await session.query(
        'SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1',
        [slot],
      );
      return;
    } catch (error) {
      if (sqlstateOf(error) === SQLSTATE.undefinedObject) return;
      if (sqlstateOf(error) !== SQLSTATE.objectInUse || attempt === dropAttemptsMax) throw error;
      // The holder was told to end and needs a moment for it.
      await new Promise<void>((resolve) => clock.setTimer(dropPauseMs, resolve));
    }
  }
}

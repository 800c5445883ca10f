import { formatLsn, type Lsn } from '@sluice/domain';
import { query } from '@sluice/testkit';
import type pg from 'pg';
import { readBare } from '../source/bare-reader.ts';
import { endOfLoad, type Followed, untilCheckpoint } from '../stack.ts';

const BARE_SLOT = 'bench_bare';

/**
 * A slot that is streamed again is decoded from its restart point, which servers move every 15 seconds or so. The baseline's
 * slot is new; those of the data planes are brought up to date, so that all drain the load and nothing before it.
 */
export async function bringSlotsUpToDate(source: pg.Client, planes: readonly Followed[]): Promise<void> {
  const target = await endOfLoad(source);
  for (let isUpToDate = false; !isUpToDate; ) {
    await source.query('select pg_log_standby_snapshot()');
    const end = await endOfLoad(source);
    await Promise.all(planes.map((plane) => untilCheckpoint(plane, end)));
    const slots = await source.query(
      `select bool_and(restart_lsn >= $1) as "isUpToDate" from pg_replication_slots where slot_type = 'logical'`,
      [formatLsn(target)],
    );
    isUpToDate = slots.rows[0]?.isUpToDate === true;
  }
}

export async function createBareSlot(source: pg.Client): Promise<void> {
  await source.query(`select pg_create_logical_replication_slot('${BARE_SLOT}', 'pgoutput')`);
}

/** Milliseconds that the baseline takes to read the backlog. Any publication of the same tables will do. */
export async function drainBare(source: pg.Client, sourceUrl: string, end: Lsn): Promise<number> {
  const result = await source.query('select pubname from pg_publication limit 1');
  return (await readBare(sourceUrl, BARE_SLOT, String(result.rows[0]?.pubname), end)).durationMs;
}

/** The walsender of a torn connection may hold the slot for a moment. */
export async function dropBareSlot(source: pg.Client): Promise<void> {
  await endWalsender(source, BARE_SLOT);
  await source.query(`select pg_drop_replication_slot('${BARE_SLOT}')`);
}

/** Ends the connection that streams the slot, if there is one; resolves when the slot is free. */
export async function endWalsender(source: pg.Client, slot: string): Promise<void> {
  for (;;) {
    const ended = await source.query(
      'select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null',
      [slot],
    );
    if (ended.rowCount === 0) return;
  }
}

export async function checkRowCount(storeUrl: string, expected: number): Promise<void> {
  const [found] = await query<{ rows: string }>(
    storeUrl,
    'select sum(rows_delta)::bigint as rows from sluice_store.chunk',
  );
  if (Number(found?.rows) !== expected) throw new Error(`the store holds ${found?.rows} rows, not ${expected}`);
}

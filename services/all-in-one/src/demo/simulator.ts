import { type Clock, delay } from '@sluice/domain';
import type pg from 'pg';

/** What a running airport does to its flights, each as the tenant's own app would write it: one small transaction. */
const CHANGES: readonly { readonly weight: number; readonly sql: string }[] = [
  {
    weight: 5,
    sql: `update flights set gate = chr(65 + floor(random() * 5)::int) || (1 + floor(random() * 38))::int, remark = 'Gate change'
          where id = (select id from flights where departs_at between now() and now() + interval '12 hours' order by random() limit 1)`,
  },
  {
    weight: 4,
    sql: `update flights set delay = greatest(0, delay) + 5 + floor(random() * 25)::int, status = 'delayed', remark = null
          where id = (select id from flights where departs_at between now() and now() + interval '12 hours' order by random() limit 1)`,
  },
  {
    weight: 4,
    sql: `update flights set status = 'boarding', remark = 'Now boarding'
          where id = (select id from flights where departs_at between now() and now() + interval '1 hour' and status <> 'boarding' order by random() limit 1)`,
  },
  {
    weight: 2,
    sql: `update flights set delay = 0, status = 'on time', remark = 'Time made up'
          where id = (select id from flights where departs_at between now() and now() + interval '12 hours' and status = 'delayed' order by random() limit 1)`,
  },
  {
    weight: 1,
    sql: `update flights set status = 'departed', remark = null where departs_at < now() and departs_at > now() - interval '6 hours' and status <> 'departed'`,
  },
];

/**
 * Changes flights at about `changesPerSecond` until the signal is aborted. An error of the tenant's database ends the
 * promise; the caller decides whether to start again.
 */
export async function runSimulator(
  client: pg.Client,
  clock: Clock,
  changesPerSecond: number,
  signal: AbortSignal,
): Promise<void> {
  const wheel = CHANGES.flatMap(({ weight, sql }) => Array.from({ length: weight }, () => sql));
  for (let turn = 0; !signal.aborted; turn++) {
    // The order is fixed and mixed by a step that shares no factor with the wheel; which flight is hit is the database's draw.
    await client.query(wheel[(turn * 7) % wheel.length] ?? '');
    await delay(clock, 1000 / changesPerSecond, signal);
  }
}

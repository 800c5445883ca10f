import { query } from '@sluice/testkit';

/** Writes down, within the store itself, which process moved which shard under which lease. */
export async function logWriters(storeUrl: string): Promise<void> {
  await query(
    storeUrl,
    `create table applied_by (id bigserial primary key, project int, shard int, token bigint, process text);
     create function log_applied() returns trigger language plpgsql security definer as $$
     begin
       insert into public.applied_by (project, shard, token, process)
       values (new.project, new.shard, new.worker_token, current_setting('application_name'));
       return null;
     end $$;
     create trigger log_applied after update of applied_lsn, applied_seq on sluice_store.shard
       for each row execute function log_applied()`,
  );
}

/** Leases under which more than one process wrote, and writes under a lease after a later one had been used. */
export async function mixedWriters(storeUrl: string): Promise<unknown[]> {
  return await query(
    storeUrl,
    `select project, shard, token, array_agg(distinct process) as processes from applied_by
     group by project, shard, token having count(distinct process) > 1
     union all
     select a.project, a.shard, a.token, array[a.process] from applied_by a
     where exists (select from applied_by b
                   where b.project = a.project and b.shard = a.shard and b.token > a.token and b.id < a.id)`,
  );
}

/** How many processes have applied anything. */
export async function writerCount(storeUrl: string): Promise<number> {
  const [row] = await query<{ count: number }>(
    storeUrl,
    'select count(distinct process)::int as count from applied_by',
  );
  return row?.count ?? 0;
}

-- Shards: who works on each (a lease with a token that fences, as the source's), and several shards of one barrier.

-- One row per shard of a project that a worker has ever leased, whatever the epoch. It outlives an erased project, so
-- that no token is given twice.
create table sluice_store.shard_lease (
  project int not null,
  shard int not null check (shard >= 0),
  token bigint not null,
  holder text,
  expires_at timestamptz,
  primary key (project, shard)
) with (fillfactor = 50);
alter table sluice_store.shard_lease enable row level security;
alter table sluice_store.shard_lease force row level security;
create policy own_project on sluice_store.shard_lease to sluice_store_app
  using (project = current_setting('sluice.project')::int)
  with check (project = current_setting('sluice.project')::int);
grant select, insert, update, delete on sluice_store.shard_lease to sluice_store_app;

-- The token of the shard's worker, repeated here as the source's is: a frame fences itself by locking this one row (L3).
alter table sluice_store.shard add column worker_token bigint not null default 0;

drop function sluice_store.apply_frame(
  int, int, int, int, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, int[],
  bytea, int[], int[], int[], int[], int[], int[], int[], int[], bigint[], int[], int[], int[],
  bigint[], bigint[], int[], int[], int[], int[], bigint[], bigint[], json
);

-- Applies one frame's result exactly once (L3) in the one statement that is its transaction. Outcomes: 0 applied,
-- 1 skipped (it was applied before), 2 gap (stream again, or evaluate again), 3 fenced by the source's lease or the shard
-- map, 4 fenced by the shard's lease.
create function sluice_store.apply_frame(
  p_project int,
  p_epoch int,
  p_shard int,
  p_map_version int,
  p_token bigint,
  p_worker_token bigint,
  p_prev_lsn bigint,
  p_prev_seq bigint,
  p_end_lsn bigint,
  p_end_seq bigint,
  p_commit_end_lsn bigint,
  p_committed_at_ms bigint,
  p_before_lsn bigint,
  p_before_seq bigint,
  p_streams int[],
  p_blob bytea,
  p_chunk_stream int[],
  p_chunk_offset int[],
  p_chunk_directory_bytes int[],
  p_chunk_stored_bytes int[],
  p_chunk_payload_bytes int[],
  p_chunk_codec int[],
  p_chunk_ops int[],
  p_chunk_rows_delta int[],
  p_chunk_checksum_delta bigint[],
  p_member_stream int[],
  p_member_set int[],
  p_member_present int[],
  p_member_lsn bigint[],
  p_member_seq bigint[],
  p_member_offset int[],
  p_member_value_bytes int[],
  p_truncate_stream int[],
  p_truncate_set int[],
  p_truncate_lsn bigint[],
  p_truncate_seq bigint[],
  p_issues json,
  out outcome int,
  out applied_lsn bigint,
  out applied_seq bigint,
  out checkpoint_lsn bigint,
  out checkpoint_committed_at_ms bigint,
  out previous_lsn bigint
) language plpgsql as $$
declare
  barrier_seq constant bigint := 281474976710655;
  -- Shards write chunks of one bucket at one barrier; a shard's chunks of a frame are numbered from here.
  chunks_per_shard constant bigint := 16777216;
  shard_row record;
  epoch_row record;
  streams_are_current boolean;
begin
  perform set_config('sluice.project', p_project::text, true);

  select s.map_version, s.lease_token, s.worker_token, s.applied_lsn, s.applied_seq into shard_row
  from sluice_store.shard as s
  where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard
  for no key update;
  if not found or shard_row.lease_token <> p_token or shard_row.map_version <> p_map_version then
    outcome := 3;
    return;
  end if;
  if shard_row.worker_token <> p_worker_token then
    outcome := 4;
    return;
  end if;
  applied_lsn := shard_row.applied_lsn;
  applied_seq := shard_row.applied_seq;

  if (p_end_lsn, p_end_seq) <= (applied_lsn, applied_seq) then
    outcome := 1;
    return;
  end if;
  if (p_prev_lsn, p_prev_seq) > (applied_lsn, applied_seq)
    or (p_before_lsn, p_before_seq) <> (applied_lsn, applied_seq)
  then
    outcome := 2;
    return;
  end if;
  select
    count(*) filter (where t.stream = any (p_streams)) = cardinality(p_streams)
    and count(*) filter (where t.stream <> all (p_streams) and t.activated_at < p_end_lsn) = 0
  into streams_are_current
  from sluice_store.stream as t
  where t.project = p_project and t.epoch = p_epoch and t.dropped_after is null;
  if not streams_are_current then
    outcome := 2;
    return;
  end if;

  if cardinality(p_chunk_stream) > 0 or cardinality(p_member_stream) > 0 then
    perform sluice_store.write_ops(
      p_project, p_end_lsn, p_end_seq, p_shard * chunks_per_shard, p_blob, p_chunk_stream, p_chunk_offset,
      p_chunk_directory_bytes, p_chunk_stored_bytes, p_chunk_payload_bytes, p_chunk_codec, p_chunk_ops,
      p_chunk_rows_delta, p_chunk_checksum_delta, p_member_stream, p_member_set, p_member_present, p_member_lsn,
      p_member_seq, p_member_offset, p_member_value_bytes
    );
  end if;
  if cardinality(p_truncate_stream) > 0 then
    insert into sluice_store.truncation (project, stream, membership, lsn, seq)
    select p_project, t.stream, t.membership, t.lsn, t.seq
    from unnest(p_truncate_stream, p_truncate_set, p_truncate_lsn, p_truncate_seq) as t (stream, membership, lsn, seq)
    -- Every shard is told of a TRUNCATE, so that none keeps what came before it; it counts once.
    on conflict do nothing;
  end if;
  if p_issues is not null then
    perform sluice_store.write_issues(p_project, p_issues);
  end if;

  outcome := 0;
  previous_lsn := 0;
  if p_end_seq <> barrier_seq then
    update sluice_store.shard as s
    set applied_lsn = p_end_lsn, applied_seq = p_end_seq
    where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard;
    return;
  end if;

  update sluice_store.shard as s
  set
    applied_lsn = p_end_lsn,
    applied_seq = p_end_seq,
    previous_barrier_end_lsn = s.barrier_end_lsn,
    barrier_lsn = p_end_lsn,
    barrier_end_lsn = p_commit_end_lsn,
    barrier_committed_at_ms = p_committed_at_ms
  where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard;

  -- The lock makes shards take turns, so that the last one to reach a barrier sees that all the others have (L4).
  select e.shards, e.held, e.checkpoint_lsn into epoch_row
  from sluice_store.epoch as e
  where e.project = p_project and e.epoch = p_epoch
  for no key update;
  if epoch_row.held then
    return;
  end if;
  if epoch_row.shards = 1 then
    checkpoint_lsn := p_end_lsn;
    checkpoint_committed_at_ms := p_committed_at_ms;
  else
    select s.barrier_lsn, s.barrier_committed_at_ms into checkpoint_lsn, checkpoint_committed_at_ms
    from sluice_store.shard as s
    where s.project = p_project and s.epoch = p_epoch
    order by s.barrier_lsn, s.barrier_committed_at_ms
    limit 1;
  end if;
  previous_lsn := coalesce(epoch_row.checkpoint_lsn, 0);
  if checkpoint_lsn <= previous_lsn then
    checkpoint_lsn := null;
    return;
  end if;
  update sluice_store.epoch as e
  set
    checkpoint_lsn = apply_frame.checkpoint_lsn,
    checkpoint_committed_at_ms = apply_frame.checkpoint_committed_at_ms
  where e.project = p_project and e.epoch = p_epoch;
end
$$;

drop function sluice_store.apply_snapshot_part(
  int, int, bigint, int[], bigint, text, int, boolean, bytea, int[], int[], int[], int[], int[],
  int[], int[], int[], bigint[], int[], int[], int[], bigint[], bigint[], int[], int[], json
);

-- Applies a part of a copy exactly once (L10). Outcomes: 0 applied, 1 skipped, 3 fenced by the source's lease or
-- the streams, 4 fenced by the shard's lease.
create function sluice_store.apply_snapshot_part(
  p_project int,
  p_epoch int,
  p_token bigint,
  p_shard int,
  p_worker_token bigint,
  p_streams int[],
  p_point_lsn bigint,
  p_table text,
  p_part int,
  p_last boolean,
  p_blob bytea,
  p_chunk_stream int[],
  p_chunk_offset int[],
  p_chunk_directory_bytes int[],
  p_chunk_stored_bytes int[],
  p_chunk_payload_bytes int[],
  p_chunk_codec int[],
  p_chunk_ops int[],
  p_chunk_rows_delta int[],
  p_chunk_checksum_delta bigint[],
  p_member_stream int[],
  p_member_set int[],
  p_member_present int[],
  p_member_lsn bigint[],
  p_member_seq bigint[],
  p_member_offset int[],
  p_member_value_bytes int[],
  p_issues json,
  out outcome int
) language plpgsql as $$
declare
  -- Chunks of all parts share the position (point, 0); a part's chunks are numbered from here.
  chunks_per_part constant bigint := 16777216;
  locked int;
  written int;
begin
  perform set_config('sluice.project', p_project::text, true);

  perform from sluice_store.project as p
  where p.project = p_project and p.lease_token = p_token
  for share;
  if not found then
    outcome := 3;
    return;
  end if;
  perform from sluice_store.shard_lease as l
  where l.project = p_project and l.shard = p_shard and l.token = p_worker_token
  for share;
  if not found then
    outcome := 4;
    return;
  end if;
  with held as (
    select from sluice_store.stream as t
    where t.project = p_project and t.epoch = p_epoch and t.stream = any (p_streams)
      and t.backfill_point = p_point_lsn and t.visible_after is null and t.dropped_after is null
      and not t.erasing
    order by t.stream
    for no key update
  )
  select count(*) into locked from held;
  if locked <> cardinality(p_streams) then
    outcome := 3;
    return;
  end if;

  insert into sluice_store.snapshot_part (project, stream, point_lsn, table_name, part, last)
  select p_project, t.stream, p_point_lsn, p_table, p_part, p_last
  from unnest(p_streams) as t (stream)
  on conflict do nothing;
  get diagnostics written = row_count;
  if written = 0 then
    outcome := 1;
    return;
  end if;
  if written <> cardinality(p_streams) then
    raise exception 'streams of one copy differ in their parts' using errcode = 'SL002';
  end if;

  perform sluice_store.write_ops(
    p_project, p_point_lsn, 0, p_part * chunks_per_part, p_blob, p_chunk_stream, p_chunk_offset,
    p_chunk_directory_bytes, p_chunk_stored_bytes, p_chunk_payload_bytes, p_chunk_codec, p_chunk_ops,
    p_chunk_rows_delta, p_chunk_checksum_delta, p_member_stream, p_member_set, p_member_present, p_member_lsn,
    p_member_seq, p_member_offset, p_member_value_bytes
  );
  if p_issues is not null then
    perform sluice_store.write_issues(p_project, p_issues);
  end if;

  update sluice_store.stream as t
  set loaded_tables = t.loaded_tables || p_table
  where t.project = p_project and t.stream = any (p_streams) and not (p_table = any (t.loaded_tables))
    and exists (
      select from sluice_store.snapshot_part as l
      where l.project = p_project and l.stream = t.stream and l.point_lsn = p_point_lsn and l.table_name = p_table
        and l.last
        and l.part + 1 = (
          select count(*) from sluice_store.snapshot_part as q
          where q.project = p_project and q.stream = t.stream and q.point_lsn = p_point_lsn
            and q.table_name = p_table
        )
    );
  outcome := 0;
end
$$;

-- The rest of the shard map: by which columns rows are divided (0001 has the version and the number of shards).
alter table sluice_store.epoch add column row_keys json not null default '{}';

-- Where several shards share an epoch: the greatest barrier that all have passed, whether or not checkpoints are held, and
-- per shard the barriers above it.
alter table sluice_store.epoch add column level_lsn bigint;
alter table sluice_store.epoch add column level_committed_at_ms bigint;
alter table sluice_store.shard add column barriers bigint[] not null default '{}';

drop function sluice_store.read_source(int);

-- As in 0007, and the row keys.
create function sluice_store.read_source(p_project int)
returns table (
  lease_token bigint,
  condition json,
  epoch int,
  state text,
  identity json,
  map_version int,
  row_keys json,
  held boolean,
  checkpoint_lsn bigint,
  checkpoint_committed_at_ms bigint,
  shard int,
  applied_lsn bigint,
  applied_seq bigint,
  barrier_lsn bigint,
  barrier_end_lsn bigint,
  previous_barrier_end_lsn bigint
) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select
      p.lease_token, p.condition, e.epoch, e.state, e.identity, e.map_version, e.row_keys, e.held, e.checkpoint_lsn,
      e.checkpoint_committed_at_ms, s.shard, s.applied_lsn, s.applied_seq, s.barrier_lsn, s.barrier_end_lsn,
      s.previous_barrier_end_lsn
    from sluice_store.project as p
    left join sluice_store.epoch as e on e.project = p_project and e.state <> 'retired'
    left join sluice_store.shard as s on s.project = p_project and s.epoch = e.epoch
    where p.project = p_project and not p.erased
    order by e.epoch, s.shard;
end
$$;

-- Applies one frame's result exactly once (L3) in the one statement that is its transaction. Outcomes: 0 applied,
-- 1 skipped (it was applied before), 2 gap (stream again, or evaluate again), 3 fenced by the source's lease or the shard
-- map, 4 fenced by the shard's lease.
create or replace function sluice_store.apply_frame(
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
  level_row record;
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

  -- The lock makes shards take turns, so that the last one to reach a barrier sees that all the others have (L4).
  select e.shards, e.held, e.checkpoint_lsn, coalesce(e.level_lsn, 0) as level_lsn, e.level_committed_at_ms into epoch_row
  from sluice_store.epoch as e
  where e.project = p_project and e.epoch = p_epoch
  for no key update;

  update sluice_store.shard as s
  set
    applied_lsn = p_end_lsn,
    applied_seq = p_end_seq,
    previous_barrier_end_lsn = s.barrier_end_lsn,
    barrier_lsn = p_end_lsn,
    barrier_end_lsn = p_commit_end_lsn,
    barrier_committed_at_ms = p_committed_at_ms
  where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard;

  if epoch_row.shards = 1 then
    checkpoint_lsn := p_end_lsn;
    checkpoint_committed_at_ms := p_committed_at_ms;
  else
    -- Shards that were applied to different positions when the stream began again may have passed barriers that others
    -- have not: a frame that was cut anew leads past them. So the greatest barrier of all is looked for, not the least position.
    update sluice_store.shard as s
    set barriers = array(
        select b.lsn from unnest(s.barriers) as b (lsn) where b.lsn > epoch_row.level_lsn order by b.lsn
      ) || p_end_lsn
    where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard;
    select b.lsn into level_row
    from sluice_store.shard as s
    cross join lateral unnest(s.barriers) as b (lsn)
    where s.project = p_project and s.epoch = p_epoch and b.lsn > epoch_row.level_lsn
    group by b.lsn
    having count(*) = epoch_row.shards
    order by b.lsn desc
    limit 1;
    checkpoint_lsn := epoch_row.level_lsn;
    checkpoint_committed_at_ms := epoch_row.level_committed_at_ms;
    if found then
      checkpoint_lsn := level_row.lsn;
      -- Only the frame at hand can have made it common to all.
      checkpoint_committed_at_ms := p_committed_at_ms;
      update sluice_store.epoch as e
      set level_lsn = level_row.lsn, level_committed_at_ms = p_committed_at_ms
      where e.project = p_project and e.epoch = p_epoch;
    end if;
  end if;

  previous_lsn := coalesce(epoch_row.checkpoint_lsn, 0);
  if epoch_row.held then
    previous_lsn := 0;
    checkpoint_lsn := null;
    checkpoint_committed_at_ms := null;
    return;
  end if;
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

-- As in 0009, for a position: a shard that is behind has not come to a TRUNCATE that another has told of.
create function sluice_store.row_states_floor_at(
  p_project int, p_stream int, p_set int, p_lsn bigint, p_seq bigint, out floor_lsn bigint, out floor_seq bigint
) language sql stable as $$
  select f.lsn, f.seq
  from (
    select coalesce(s.backfill_point, 0) as lsn, 0::bigint as seq
    from sluice_store.stream as s
    where s.project = p_project and s.stream = p_stream
    union all
    select t.lsn, t.seq
    from sluice_store.truncation as t
    where t.project = p_project and t.stream = p_stream and t.membership = p_set and (t.lsn, t.seq) <= (p_lsn, p_seq)
  ) as f
  order by f.lsn desc, f.seq desc
  limit 1
$$;

-- For all shards of the stream's epoch: what is void for the one that is furthest behind.
create or replace function sluice_store.row_states_floor(
  p_project int, p_stream int, p_set int, out floor_lsn bigint, out floor_seq bigint
) language sql stable as $$
  select f.floor_lsn, f.floor_seq
  from (
    select coalesce(min(h.applied_lsn), 9223372036854775807) as lsn
    from sluice_store.stream as s
    left join sluice_store.shard as h on h.project = p_project and h.epoch = s.epoch
    where s.project = p_project and s.stream = p_stream
  ) as least
  cross join lateral (
    -- A TRUNCATE of the transaction that the last shard is in may still be ahead of it.
    select min(h.applied_seq) as seq
    from sluice_store.stream as s
    join sluice_store.shard as h on h.project = p_project and h.epoch = s.epoch and h.applied_lsn = least.lsn
    where s.project = p_project and s.stream = p_stream
  ) as within
  cross join lateral sluice_store.row_states_floor_at(
    p_project, p_stream, p_set, least.lsn, coalesce(within.seq, 9223372036854775807)
  ) as f
$$;

-- As in 0009, void as of the shard's own position.
create or replace function sluice_store.read_row_states(
  p_project int,
  p_epoch int,
  p_shard int,
  p_blob bytea,
  p_stream int[],
  p_set int[],
  p_offset int[],
  p_key_bytes int[],
  p_with_origins boolean,
  p_bytes_max bigint
) returns table (applied_lsn bigint, applied_seq bigint, revision bigint, answered int, states bytea) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    with tables as materialized (
      select d.stream, d.membership, f.floor_lsn, f.floor_seq
      from (select distinct u.stream, u.membership from unnest(p_stream, p_set) as u (stream, membership)) as d
      join sluice_store.shard as h on h.project = p_project and h.epoch = p_epoch and h.shard = p_shard
      cross join lateral sluice_store.row_states_floor_at(
        p_project, d.stream, d.membership, h.applied_lsn, h.applied_seq
      ) as f
    ),
    refs as materialized (
      select u.n::int - 1 as n, u.stream, u.membership, substring(p_blob from u.at for u.key_bytes) as row_key
      from unnest(p_stream, p_set, p_offset, p_key_bytes) with ordinality as u (stream, membership, at, key_bytes, n)
    ),
    found as (
      select r.n, 0 as is_origin, s.stream, s.membership, s.kind, s.lsn, s.seq, s.since_lsn, s.origin, s.image
      from refs as r
      join sluice_store.row_state as s
        on s.project = p_project and s.stream = r.stream and s.membership = r.membership and s.row_key = r.row_key
      union all
      select r.n, 1, s.stream, s.membership, s.kind, s.lsn, s.seq, s.since_lsn, s.origin, s.image
      from refs as r
      join sluice_store.row_state as s
        on s.project = p_project and s.stream = r.stream and s.membership = r.membership and s.origin = r.row_key
      where p_with_origins
    ),
    measured as (
      select f.*, sum(length(f.image)) over (order by f.n, f.is_origin) - length(f.image) >= p_bytes_max as is_beyond
      from found as f
      join tables as t using (stream, membership)
      where (f.lsn, f.seq) >= (t.floor_lsn, t.floor_seq)
    ),
    bound as (
      select coalesce(min(m.n), cardinality(p_stream)) as answered from measured as m where m.is_beyond
    ),
    packed as (
      select string_agg(
        int4send(m.n) || int2send(m.is_origin::smallint) || int2send(m.kind) || int8send(m.lsn) || int8send(m.seq)
          || int8send(m.since_lsn) || int4send(coalesce(length(m.origin), -1)) || int4send(length(m.image)) || coalesce(m.origin, '') || m.image,
        '' order by m.n, m.is_origin
      ) as states
      from measured as m, bound as b
      where m.n < b.answered
    )
    select h.applied_lsn, h.applied_seq, h.row_states_revision, b.answered, coalesce(p.states, '')
    from sluice_store.shard as h, bound as b, packed as p
    where h.project = p_project and h.epoch = p_epoch and h.shard = p_shard;
end
$$;

-- States of rows whose old images the source does not send (L7): per stream generation, membership set (-1 for the stream's
-- own table) and row key, what the row was at its newest position. They go with their stream.

-- `kind`: 0 gone (a tombstone, kept while the stream is copied), 1 a row, 2 a row of which columns are not known yet; these
-- are at `origin` in the copy. From `since_lsn` on every op of the key was evaluated with the row that it found; the first one
-- found nothing known. The key is the row key's bytes, or 0xff and their SHA-256 when they are more than 32.
create table sluice_store.row_state (
  project int not null,
  stream int not null,
  membership int not null,
  kind smallint not null check (kind between 0 and 2),
  lsn bigint not null,
  seq bigint not null,
  since_lsn bigint not null,
  row_key bytea not null,
  origin bytea,
  image bytea not null,
  primary key (project, stream, membership, row_key)
) with (fillfactor = 80, toast_tuple_target = 8160);
alter table sluice_store.row_state alter column row_key set storage plain;
alter table sluice_store.row_state alter column origin set storage plain;
alter table sluice_store.row_state alter column image set storage external;
-- Both stay small: they hold what a copy has not come to yet.
create index row_state_by_origin on sluice_store.row_state (project, stream, membership, origin) where origin is not null;
create index row_state_gone on sluice_store.row_state (project, stream) where kind = 0;

alter table sluice_store.row_state enable row level security;
alter table sluice_store.row_state force row level security;
create policy own_project on sluice_store.row_state to sluice_store_app
  using (project = current_setting('sluice.project')::int)
  with check (project = current_setting('sluice.project')::int);
grant select, insert, update, delete on sluice_store.row_state to sluice_store_app;

-- Counts whatever changes which states hold without moving the applied position: parts of copies and back-fill points. Who
-- evaluated with the states of another count evaluates again.
alter table sluice_store.shard add column row_states_revision bigint not null default 0;
-- The greatest LSN that was applied when a part of the copy was laid beside streamed rows: below it the stream is not whole.
alter table sluice_store.stream add column settled_lsn bigint not null default 0;
-- The newest TRUNCATE whose void states are erased.
alter table sluice_store.stream add column states_pruned_lsn bigint not null default 0;

-- The position below which states of a table are void: what was streamed below the back-fill point is in the copy, and a
-- TRUNCATE ends all that was before it.
create function sluice_store.row_states_floor(
  p_project int, p_stream int, p_set int, out floor_lsn bigint, out floor_seq bigint
) language sql stable as $$
  select f.lsn, f.seq
  from (
    select coalesce(s.backfill_point, 0) as lsn, 0::bigint as seq
    from sluice_store.stream as s
    where s.project = p_project and s.stream = p_stream
    union all
    select t.lsn, t.seq
    from sluice_store.truncation as t
    where t.project = p_project and t.stream = p_stream and t.membership = p_set
  ) as f
  order by f.lsn desc, f.seq desc
  limit 1
$$;

-- The states of the keys in the blob, and what they are the states of, all as of one moment. `states` holds, one after the
-- other in the order of the keys: the key's number (int4, from 0), whether the key is the state's origin (int2), the kind
-- (int2), the position (two int8), `since_lsn` (int8), the lengths of origin and image (two int4; -1 without origin), their bytes. At most
-- `p_bytes_max` bytes of images and one state more; `answered` is how many keys that covers.
create function sluice_store.read_row_states(
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
      cross join lateral sluice_store.row_states_floor(p_project, d.stream, d.membership) as f
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

-- Writes states; kind 3 erases one. The blob holds, per state, the key, the origin (if its length is not -1) and the image.
create function sluice_store.write_row_states(
  p_project int,
  p_blob bytea,
  p_stream int[],
  p_set int[],
  p_kind int[],
  p_lsn bigint[],
  p_seq bigint[],
  p_since_lsn bigint[],
  p_offset int[],
  p_key_bytes int[],
  p_origin_bytes int[],
  p_image_bytes int[]
) returns void language plpgsql as $$
begin
  insert into sluice_store.row_state (project, stream, membership, kind, lsn, seq, since_lsn, row_key, origin, image)
  select
    p_project, u.stream, u.membership, u.kind::smallint, u.lsn, u.seq, u.since_lsn,
    substring(p_blob from u.at for u.key_bytes),
    case when u.origin_bytes >= 0 then substring(p_blob from u.at + u.key_bytes for u.origin_bytes) end,
    substring(p_blob from u.at + u.key_bytes + greatest(u.origin_bytes, 0) for u.image_bytes)
  from unnest(
    p_stream, p_set, p_kind, p_lsn, p_seq, p_since_lsn, p_offset, p_key_bytes, p_origin_bytes, p_image_bytes
  ) as u (stream, membership, kind, lsn, seq, since_lsn, at, key_bytes, origin_bytes, image_bytes)
  where u.kind <> 3
  on conflict (project, stream, membership, row_key) do update
    set kind = excluded.kind, lsn = excluded.lsn, seq = excluded.seq, since_lsn = excluded.since_lsn,
      origin = excluded.origin, image = excluded.image;
  delete from sluice_store.row_state as s
  using unnest(p_stream, p_set, p_kind, p_offset, p_key_bytes) as u (stream, membership, kind, at, key_bytes)
  where u.kind = 3
    and s.project = p_project and s.stream = u.stream and s.membership = u.membership
    and s.row_key = substring(p_blob from u.at for u.key_bytes);
end
$$;

-- As apply_frame, for a frame that was evaluated with states: they must still be those of `p_revision`, and change with it.
create function sluice_store.apply_frame_with_states(
  p_revision bigint,
  p_state_blob bytea,
  p_state_stream int[],
  p_state_set int[],
  p_state_kind int[],
  p_state_lsn bigint[],
  p_state_seq bigint[],
  p_state_since_lsn bigint[],
  p_state_offset int[],
  p_state_key_bytes int[],
  p_state_origin_bytes int[],
  p_state_image_bytes int[],
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
  shard_row record;
begin
  perform set_config('sluice.project', p_project::text, true);
  -- apply_frame takes the same lock and asks for everything else.
  select s.applied_lsn, s.applied_seq, s.row_states_revision into shard_row
  from sluice_store.shard as s
  where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard
  for no key update;
  if found and shard_row.row_states_revision <> p_revision
    and (p_end_lsn, p_end_seq) > (shard_row.applied_lsn, shard_row.applied_seq)
  then
    outcome := 2;
    applied_lsn := shard_row.applied_lsn;
    applied_seq := shard_row.applied_seq;
    return;
  end if;

  select a.outcome, a.applied_lsn, a.applied_seq, a.checkpoint_lsn, a.checkpoint_committed_at_ms, a.previous_lsn
  into outcome, applied_lsn, applied_seq, checkpoint_lsn, checkpoint_committed_at_ms, previous_lsn
  from sluice_store.apply_frame(
    p_project, p_epoch, p_shard, p_map_version, p_token, p_worker_token, p_prev_lsn, p_prev_seq, p_end_lsn, p_end_seq,
    p_commit_end_lsn, p_committed_at_ms, p_before_lsn, p_before_seq, p_streams, p_blob, p_chunk_stream, p_chunk_offset,
    p_chunk_directory_bytes, p_chunk_stored_bytes, p_chunk_payload_bytes, p_chunk_codec, p_chunk_ops,
    p_chunk_rows_delta, p_chunk_checksum_delta, p_member_stream, p_member_set, p_member_present, p_member_lsn,
    p_member_seq, p_member_offset, p_member_value_bytes, p_truncate_stream, p_truncate_set, p_truncate_lsn,
    p_truncate_seq, p_issues
  ) as a;
  if outcome = 0 then
    perform sluice_store.write_row_states(
      p_project, p_state_blob, p_state_stream, p_state_set, p_state_kind, p_state_lsn, p_state_seq,
      p_state_since_lsn, p_state_offset, p_state_key_bytes, p_state_origin_bytes, p_state_image_bytes
    );
  end if;
end
$$;

-- As apply_snapshot_part, for a part that was evaluated with the states of `p_revision` at the applied position
-- `p_before`. One more outcome: 2 evaluate again.
create function sluice_store.apply_snapshot_part_with_states(
  p_before_lsn bigint,
  p_before_seq bigint,
  p_revision bigint,
  p_state_blob bytea,
  p_state_stream int[],
  p_state_set int[],
  p_state_kind int[],
  p_state_lsn bigint[],
  p_state_seq bigint[],
  p_state_since_lsn bigint[],
  p_state_offset int[],
  p_state_key_bytes int[],
  p_state_origin_bytes int[],
  p_state_image_bytes int[],
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
  applied bigint;
begin
  perform set_config('sluice.project', p_project::text, true);
  begin
    -- First, since it locks the streams, as all do before they lock a shard.
    outcome := sluice_store.apply_snapshot_part(
      p_project, p_epoch, p_token, p_shard, p_worker_token, p_streams, p_point_lsn, p_table, p_part, p_last, p_blob,
      p_chunk_stream, p_chunk_offset, p_chunk_directory_bytes, p_chunk_stored_bytes, p_chunk_payload_bytes,
      p_chunk_codec, p_chunk_ops, p_chunk_rows_delta, p_chunk_checksum_delta, p_member_stream, p_member_set,
      p_member_present, p_member_lsn, p_member_seq, p_member_offset, p_member_value_bytes, p_issues
    );
    if outcome <> 0 then
      return;
    end if;
    update sluice_store.shard as s
    set row_states_revision = s.row_states_revision + 1
    where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard
      and s.applied_lsn = p_before_lsn and s.applied_seq = p_before_seq and s.row_states_revision = p_revision
    returning s.applied_lsn into applied;
    if not found then
      raise exception 'states moved' using errcode = 'SL005';
    end if;
  exception when sqlstate 'SL005' then
    outcome := 2;
    return;
  end;
  update sluice_store.stream as t
  set settled_lsn = applied
  where t.project = p_project and t.stream = any (p_streams) and t.settled_lsn < applied;
  perform sluice_store.write_row_states(
    p_project, p_state_blob, p_state_stream, p_state_set, p_state_kind, p_state_lsn, p_state_seq,
    p_state_since_lsn, p_state_offset, p_state_key_bytes, p_state_origin_bytes, p_state_image_bytes
  );
end
$$;

-- Copies in ranges of keys (L10): each goes from to do to done in the transaction that writes its last part. What is left
-- after a crash is copied under a newer consistent point, and what is done stays.
create table sluice_store.snapshot_range (
  project int not null,
  stream int not null,
  table_name text not null,
  range int not null,
  -- Key columns as texts, the lower bound included, the upper not; empty where the range is open.
  lower_key text[] not null,
  upper_key text[] not null,
  -- The point under which the range was copied; null while it is to do.
  point_lsn bigint,
  primary key (project, stream, table_name, range)
);
alter table sluice_store.snapshot_range enable row level security;
alter table sluice_store.snapshot_range force row level security;
create policy own_project on sluice_store.snapshot_range to sluice_store_app
  using (project = current_setting('sluice.project')::int)
  with check (project = current_setting('sluice.project')::int);
grant select, insert, update, delete on sluice_store.snapshot_range to sluice_store_app;

-- The newest consistent point of a copy that was resumed; null while its back-fill point is the only one. From then on the
-- deltas of chunks below the newest point do not add up, until corrections are written.
alter table sluice_store.stream add column copy_point bigint;
alter table sluice_store.stream add column is_settled boolean not null default true;

-- Notes that a part is applied, and marks its range and its table as done when it was the last one missing. A part's number
-- is its range's, times 65536, plus its place in the range; a table without ranges is one whose number is 0.
create function sluice_store.note_snapshot_part(
  p_project int,
  p_streams int[],
  p_point_lsn bigint,
  p_table text,
  p_part int
) returns void language plpgsql as $$
declare
  parts_per_range constant int := 65536;
  first_part constant int := p_part - p_part % parts_per_range;
begin
  if not exists (
    select from sluice_store.snapshot_part as l
    where l.project = p_project and l.stream = p_streams[1] and l.point_lsn = p_point_lsn and l.table_name = p_table
      and l.part between first_part and first_part + parts_per_range - 1
      and l.last
      and l.part - first_part + 1 = (
        select count(*) from sluice_store.snapshot_part as q
        where q.project = p_project and q.stream = l.stream and q.point_lsn = p_point_lsn and q.table_name = p_table
          and q.part between first_part and first_part + parts_per_range - 1
      )
  ) then
    return;
  end if;
  update sluice_store.snapshot_range as r
  set point_lsn = p_point_lsn
  where r.project = p_project and r.stream = any (p_streams) and r.table_name = p_table
    and r.range = p_part / parts_per_range and r.point_lsn is null;
  update sluice_store.stream as t
  set loaded_tables = t.loaded_tables || p_table
  where t.project = p_project and t.stream = any (p_streams) and not (p_table = any (t.loaded_tables))
    and not exists (
      select from sluice_store.snapshot_range as r
      where r.project = p_project and r.stream = t.stream and r.table_name = p_table and r.point_lsn is null
    );
end
$$;

-- As in 0008, but for ranges: a part is of the newest point, and of a range that is still to do.
create or replace function sluice_store.apply_snapshot_part(
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
  parts_per_range constant int := 65536;
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
      and coalesce(t.copy_point, t.backfill_point) = p_point_lsn and t.visible_after is null and t.dropped_after is null
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
  perform from sluice_store.snapshot_range as r
  where r.project = p_project and r.stream = any (p_streams) and r.table_name = p_table
    and r.range = p_part / parts_per_range and r.point_lsn is not null;
  if found then
    raise exception 'a range is copied once' using errcode = 'SL002';
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
  perform sluice_store.note_snapshot_part(p_project, p_streams, p_point_lsn, p_table, p_part);
  outcome := 0;
end
$$;

-- Buckets whose deltas may not add up after a resumed copy, in order: all but those that one copied range alone filled.
create function sluice_store.read_unsettled(
  p_project int,
  p_stream int,
  p_through bigint,
  p_after bytea,
  p_buckets_max int
) returns table (bucket bytea, ops bigint) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select c.bucket, sum(c.ops)::bigint
    from sluice_store.chunk as c
    where c.project = p_project and c.stream = p_stream and c.lsn <= p_through and c.bucket > p_after
    group by c.bucket
    having min(c.lsn) <> max(c.lsn) or bool_or(c.seq <> 0)
    order by c.bucket
    limit p_buckets_max;
end
$$;

-- The sum of two 64-bit numbers, both and the result as signed ones, without overflow (L9).
create function sluice_store.add_mod_64(a bigint, b bigint) returns bigint language sql immutable as $$
  select case
    when s > 9223372036854775807 then s - 18446744073709551616
    when s < -9223372036854775808 then s + 18446744073709551616
    else s
  end::bigint
  from (select a::numeric + b as s) as sum
$$;

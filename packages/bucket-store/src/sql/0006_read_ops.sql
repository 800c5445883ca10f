-- Reads as of a checkpoint. Each names the project first, reads in one statement, and then looks whether a stream is
-- being erased: had that begun before the read, it would be visible by then.

-- The position below which a stream's chunks (set -1) or the ops of a membership set are void: its back-fill point, or
-- a later TRUNCATE at or below the checkpoint.
create function sluice_store.floors(p_project int, p_streams int[], p_sets int[], p_through bigint)
returns table (stream int, membership int, lsn bigint, seq bigint) language sql stable as $$
  select
    s.stream,
    w.membership,
    greatest(coalesce(s.backfill_point, 0), coalesce(t.lsn, 0)),
    case when t.lsn >= coalesce(s.backfill_point, 0) then t.seq else 0 end
  from (select distinct u.stream, u.membership from unnest(p_streams, p_sets) as u (stream, membership)) as w
  join sluice_store.stream as s on s.project = p_project and s.stream = w.stream
  left join lateral (
    select r.lsn, r.seq
    from sluice_store.truncation as r
    where r.project = p_project and r.stream = w.stream and r.membership = w.membership and r.lsn <= p_through
    order by r.lsn desc, r.seq desc
    limit 1
  ) as t on true
$$;

create function sluice_store.assert_whole(p_project int, p_streams int[]) returns void language plpgsql as $$
begin
  perform from unnest(p_streams) as w (stream)
  left join sluice_store.stream as s on s.project = p_project and s.stream = w.stream
  where s.stream is null or s.erasing;
  if found then
    raise exception 'stream is gone' using errcode = 'SL003';
  end if;
end
$$;

-- Chunks in (stream, bucket, position, part) order until their bytes reach the bound; at least one, so a page advances.
create function sluice_store.read_chunks(
  p_project int,
  p_streams int[],
  p_buckets bytea[],
  p_after bigint,
  p_through bigint,
  p_bytes_max bigint,
  p_from_stream int,
  p_from_bucket bytea,
  p_from_lsn bigint,
  p_from_seq bigint,
  p_from_part bigint
) returns table (
  stream int,
  bucket bytea,
  lsn bigint,
  seq bigint,
  part bigint,
  ops int,
  rows_delta int,
  checksum_delta bigint,
  codec smallint,
  payload_bytes int,
  directory bytea,
  payload bytea
) language plpgsql as $$
declare
  bytes bigint := 0;
begin
  perform set_config('sluice.project', p_project::text, true);
  for stream, bucket, lsn, seq, part, ops, rows_delta, checksum_delta, codec, payload_bytes, directory, payload in
    select
      c.stream, c.bucket, c.lsn, c.seq, c.part, c.ops, c.rows_delta, c.checksum_delta, c.codec, c.payload_bytes,
      c.directory, c.payload
    from (
      select distinct u.stream, u.bucket
      from unnest(p_streams, p_buckets) as u (stream, bucket)
      where (u.stream, u.bucket) >= (p_from_stream, p_from_bucket)
      order by u.stream, u.bucket
    ) as w
    join sluice_store.floors(p_project, p_streams, array_fill(-1, array[cardinality(p_streams)]), p_through) as f
      on f.stream = w.stream
    cross join lateral (
      select x.*
      from sluice_store.chunk as x
      where x.project = p_project and x.stream = w.stream and x.bucket = w.bucket
        and x.lsn > p_after and x.lsn <= p_through and (x.lsn, x.seq) >= (f.lsn, f.seq)
        and (x.stream, x.bucket, x.lsn, x.seq, x.part)
          > (p_from_stream, p_from_bucket, p_from_lsn, p_from_seq, p_from_part)
      order by x.lsn, x.seq, x.part
    ) as c
    order by c.stream, c.bucket, c.lsn, c.seq, c.part
  loop
    return next;
    bytes := bytes + octet_length(directory) + octet_length(payload);
    exit when bytes >= p_bytes_max;
  end loop;
  perform sluice_store.assert_whole(p_project, p_streams);
end
$$;

create function sluice_store.read_sums(p_project int, p_streams int[], p_buckets bytea[], p_through bigint)
returns table (bucket bytea, checksum numeric, row_count bigint) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select w.bucket, sum(c.checksum_delta), sum(c.rows_delta)
    from (select distinct u.stream, u.bucket from unnest(p_streams, p_buckets) as u (stream, bucket)) as w
    join sluice_store.floors(p_project, p_streams, array_fill(-1, array[cardinality(p_streams)]), p_through) as f
      on f.stream = w.stream
    join sluice_store.chunk as c
      on c.project = p_project and c.stream = w.stream and c.bucket = w.bucket and c.lsn <= p_through
      and (c.lsn, c.seq) >= (f.lsn, f.seq)
    group by w.stream, w.bucket;
  perform sluice_store.assert_whole(p_project, p_streams);
end
$$;

create function sluice_store.read_membership(
  p_project int,
  p_streams int[],
  p_sets int[],
  p_lookups bytea[],
  p_through bigint
) returns table (lookup bytea, value bytea) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select distinct newest.lookup, newest.value
    from (
      select distinct on (m.stream, m.membership, m.lookup, m.row_key) m.lookup, m.value, m.present
      from unnest(p_streams, p_sets, p_lookups) as w (stream, membership, lookup)
      join sluice_store.floors(p_project, p_streams, p_sets, p_through) as f
        on f.stream = w.stream and f.membership = w.membership
      join sluice_store.membership as m
        on m.project = p_project and m.stream = w.stream and m.membership = w.membership and m.lookup = w.lookup
        and m.lsn <= p_through and (m.lsn, m.seq) >= (f.lsn, f.seq)
      order by m.stream, m.membership, m.lookup, m.row_key, m.lsn desc, m.seq desc
    ) as newest
    where newest.present;
  perform sluice_store.assert_whole(p_project, p_streams);
end
$$;

-- A TRUNCATE of the set in the range touches every value that it had before.
create function sluice_store.read_membership_touched(
  p_project int,
  p_streams int[],
  p_sets int[],
  p_lookups bytea[],
  p_after bigint,
  p_through bigint
) returns table (lookup bytea, value bytea) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select distinct m.lookup, m.value
    from unnest(p_streams, p_sets, p_lookups) as w (stream, membership, lookup)
    join sluice_store.stream as s on s.project = p_project and s.stream = w.stream
    join sluice_store.membership as m
      on m.project = p_project and m.stream = w.stream and m.membership = w.membership and m.lookup = w.lookup
      and m.lsn <= p_through and m.lsn >= coalesce(s.backfill_point, 0)
    where m.lsn > p_after
      or exists (
        select from sluice_store.truncation as r
        where r.project = p_project and r.stream = w.stream and r.membership = w.membership
          and r.lsn > p_after and r.lsn <= p_through and r.lsn >= coalesce(s.backfill_point, 0)
      );
  perform sluice_store.assert_whole(p_project, p_streams);
end
$$;

-- Packs are made outside the server, where many chunks are deflated together: the server's own compression finds repetition
-- alone, and none in text that does not repeat. What says which bucket a chunk is of, where it stands and what it adds to
-- sums stays readable here; the content is opened by who reads it.

-- How the body is to be read: 0 as it is (packs of before), 1 as a raw deflate stream.
alter table sluice_store.pack add column format smallint not null default 0;
-- The LSN that each chunk's directory counts from; empty in packs of format 0, whose directories can be read here.
alter table sluice_store.pack add column base_lsns bigint[] not null default '{}';
alter table sluice_store.pack alter column body set storage external;
-- What sums need stays in the row, three to a page.
alter table sluice_store.pack set (toast_tuple_target = 2688);

drop function sluice_store.pack_buckets(int, bigint, int, bigint, bytea, int);
drop function sluice_store.replace_chunks(
  int, bigint, int, bytea[], bigint[], bigint[], bigint[], bytea, int[], int[], int[], int[], int[], int[], int[], bigint[],
  bigint[], bigint[], bigint[]
);
drop function sluice_store.sweep_stream(int, bigint, int, int);
drop function sluice_store.drop_packed(int, int, bytea[], bigint, bigint);
drop function sluice_store.read_exact_chunks(int, int, bytea[], bigint[], bigint[], bigint[]);
drop function sluice_store.chunk_outlines(int, int, bytea[], bigint);
drop function sluice_store.read_chunks(
  int, int[], bytea[], bigint, bigint, bigint, int, bytea, bigint, bigint, bigint
);

-- A bucket's place in the pack that holds it, if any. Ids are hashes, so none is found astride two others.
create function sluice_store.packed_entry(p_project int, p_stream int, p_bucket bytea)
returns table (
  lsn bigint,
  seq bigint,
  part bigint,
  checksum_delta bigint,
  rows_delta int,
  ops int,
  payload_bytes int,
  codec smallint,
  base_lsn bigint,
  first_bucket bytea,
  format smallint,
  start int,
  directory_bytes int,
  stored_bytes int,
  body bytea
) language sql stable as $$
  select
    p.lsns[i.n], p.seqs[i.n], p.parts[i.n], p.checksum_deltas[i.n], p.rows_deltas[i.n], p.ops[i.n], p.payload_bytes[i.n],
    p.codecs[i.n], p.base_lsns[i.n], p.first_bucket, p.format, p.starts[i.n], p.directory_bytes[i.n], p.stored_bytes[i.n],
    p.body
  from (
    select q.*, position(p_bucket in q.buckets) as at
    from sluice_store.pack as q
    where q.project = p_project and q.stream = p_stream and q.first_bucket <= p_bucket
    order by q.first_bucket desc
    limit 1
  ) as p
  cross join lateral (select (p.at + 15) / 16 as n) as i
  where p.at % 16 = 1
$$;

-- Everything about a pack's chunks but their content.
create function sluice_store.pack_entries(p sluice_store.pack)
returns table (bucket bytea, lsn bigint, seq bigint, part bigint, checksum_delta bigint, rows_delta int)
language sql immutable as $$
  select substring(p.buckets from (e.n * 16 - 15)::int for 16), e.lsn, e.seq, e.part, e.checksum_delta, e.rows_delta
  from unnest(p.lsns, p.seqs, p.parts, p.checksum_deltas, p.rows_deltas)
    with ordinality as e (lsn, seq, part, checksum_delta, rows_delta, n)
$$;

-- Replaces packs by others, within a transaction that has locked what is compacted. The blob holds, per new pack, its bucket
-- ids and its body; offsets count from 1. The other arrays hold one element an entry, pack after pack.
create function sluice_store.replace_packs(
  p_project int,
  p_stream int,
  p_opened bytea[],
  p_blob bytea,
  p_offset int[],
  p_entries int[],
  p_body_bytes int[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[],
  p_checksum_delta bigint[],
  p_rows_delta int[],
  p_ops int[],
  p_payload_bytes int[],
  p_codec int[],
  p_base_lsn bigint[],
  p_start int[],
  p_directory_bytes int[],
  p_stored_bytes int[]
) returns void language plpgsql as $$
declare
  raw_deflate constant smallint := 1;
  gone int;
begin
  delete from sluice_store.pack as q
  where q.project = p_project and q.stream = p_stream and q.first_bucket = any (p_opened);
  get diagnostics gone = row_count;
  if gone <> cardinality(p_opened) then
    raise exception 'packs to be replaced are not all there' using errcode = 'SL002';
  end if;
  insert into sluice_store.pack (
    project, stream, first_bucket, entries, buckets, lsns, seqs, parts, checksum_deltas, rows_deltas, ops, payload_bytes,
    codecs, starts, directory_bytes, stored_bytes, body, format, base_lsns
  )
  select
    p_project, p_stream, substring(p_blob from k.at for 16), k.entries, substring(p_blob from k.at for k.entries * 16),
    p_lsn[k.head:k.last], p_seq[k.head:k.last], p_part[k.head:k.last], p_checksum_delta[k.head:k.last],
    p_rows_delta[k.head:k.last], p_ops[k.head:k.last], p_payload_bytes[k.head:k.last], p_codec[k.head:k.last]::smallint[],
    p_start[k.head:k.last], p_directory_bytes[k.head:k.last], p_stored_bytes[k.head:k.last],
    substring(p_blob from k.at + k.entries * 16 for k.body_bytes), raw_deflate, p_base_lsn[k.head:k.last]
  from (
    select u.at, u.entries, u.body_bytes, sum(u.entries) over (order by u.n) - u.entries + 1 as head,
      sum(u.entries) over (order by u.n) as last
    from unnest(p_offset, p_entries, p_body_bytes) with ordinality as u (at, entries, body_bytes, n)
  ) as k;
end
$$;

-- Takes loose chunks away and says how many there were; what is missing stands in packs, or nowhere.
create function sluice_store.remove_chunks(
  p_project int,
  p_stream int,
  p_bucket bytea[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[]
) returns int language plpgsql as $$
declare
  removed int;
begin
  -- One look into the index per chunk, whatever the planner thinks of the table's size: `offset 0` keeps it from joining.
  delete from sluice_store.chunk as c
  where c.project = p_project and c.ctid = any (array(
    select x.ctid
    from unnest(p_bucket, p_lsn, p_seq, p_part) as o (bucket, lsn, seq, part)
    cross join lateral (
      select y.ctid from sluice_store.chunk as y
      where y.project = p_project and y.stream = p_stream and y.bucket = o.bucket and y.lsn = o.lsn and y.seq = o.seq
        and y.part = o.part
      offset 0
    ) as x
  ));
  get diagnostics removed = row_count;
  return removed;
end
$$;

-- Adds chunks that say the same as what was taken away. The blob is as in write_ops: per chunk the bucket id, the directory
-- and the payload.
create function sluice_store.add_folded_chunks(
  p_project int,
  p_stream int,
  p_blob bytea,
  p_offset int[],
  p_directory_bytes int[],
  p_stored_bytes int[],
  p_payload_bytes int[],
  p_codec int[],
  p_ops int[],
  p_rows_delta int[],
  p_checksum_delta bigint[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[]
) returns void language sql as $$
  insert into sluice_store.chunk (
    project, stream, lsn, seq, part, checksum_delta, rows_delta, ops, payload_bytes, codec, bucket, directory, payload
  )
  select
    p_project, p_stream, c.lsn, c.seq, c.part, c.checksum_delta, c.rows_delta, c.ops, c.payload_bytes, c.codec::smallint,
    substring(p_blob from c.at for 16),
    substring(p_blob from c.at + 16 for c.directory_bytes),
    substring(p_blob from c.at + 16 + c.directory_bytes for c.stored_bytes)
  from unnest(
    p_offset, p_directory_bytes, p_stored_bytes, p_payload_bytes, p_codec, p_ops, p_rows_delta, p_checksum_delta, p_lsn,
    p_seq, p_part
  ) as c (
    at, directory_bytes, stored_bytes, payload_bytes, codec, ops, rows_delta, checksum_delta, lsn, seq, part
  )
$$;

-- The packs that hold one of these very chunks.
create function sluice_store.packs_with(
  p_project int,
  p_stream int,
  p_bucket bytea[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[]
) returns setof sluice_store.pack language plpgsql as $$
begin
  return query
    select q.*
    from sluice_store.pack as q
    where q.project = p_project and q.stream = p_stream and q.first_bucket = any (array(
      select e.first_bucket
      from unnest(p_bucket, p_lsn, p_seq, p_part) as w (bucket, lsn, seq, part)
      cross join lateral sluice_store.packed_entry(p_project, p_stream, w.bucket) as e
      where (e.lsn, e.seq, e.part) = (w.lsn, w.seq, w.part)
    ))
    order by q.first_bucket;
end
$$;

-- Small chunks of live rows alone, a window of buckets after `p_after` at a time, each with the first bucket of the pack whose
-- region it lies in (empty before the first). A pack is opened for them only when a quarter of it is new, so that it is not
-- written again for every bucket that comes. The last row, without a bucket, has where the next window begins.
create function sluice_store.packable_chunks(
  p_project int,
  p_stream int,
  p_through bigint,
  p_after bytea,
  p_buckets_max int
) returns table (
  region bytea,
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
  payload bytea,
  next bytea
) language plpgsql as $$
declare
  chunk_bytes_max constant int := 4096;
  new_pack_entries_min constant int := 8;
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    with looked as materialized (
      select c.bucket, count(*) as chunks, max(c.lsn) as lsn, max(c.seq) as seq, max(c.part) as part
      from sluice_store.chunk as c
      where c.project = p_project and c.stream = p_stream and c.bucket > p_after
      group by c.bucket
      order by c.bucket
      limit p_buckets_max
    ),
    small as materialized (
      select c.*, coalesce(r.first_bucket, '') as region, coalesce(r.entries, 0) as entries
      from looked as l
      cross join lateral (
        select x.* from sluice_store.chunk as x
        where x.project = p_project and x.stream = p_stream and x.bucket = l.bucket and x.lsn = l.lsn and x.seq = l.seq
          and x.part = l.part
        offset 0
      ) as c
      left join lateral (
        select q.first_bucket, q.entries, position(l.bucket in q.buckets) as at
        from sluice_store.pack as q
        where q.project = p_project and q.stream = p_stream and q.first_bucket <= l.bucket
        order by q.first_bucket desc
        limit 1
      ) as r on true
      where l.chunks = 1 and l.lsn <= p_through and c.ops = c.rows_delta
        and octet_length(c.directory) + octet_length(c.payload) <= chunk_bytes_max and coalesce(r.at, 0) = 0
    ),
    chosen as (
      select s.region
      from small as s
      group by s.region, s.entries
      having count(*) * 4 >= s.entries and (s.entries > 0 or count(*) >= new_pack_entries_min)
    )
    select
      s.region, s.bucket, s.lsn, s.seq, s.part, s.ops, s.rows_delta, s.checksum_delta, s.codec, s.payload_bytes, s.directory,
      s.payload, null::bytea
    from small as s
    where s.region in (select h.region from chosen as h)
    union all
    select
      null, null, null, null, null, null, null, null, null, null, null, null,
      (array_agg(l.bucket order by l.bucket desc))[1]
    from looked as l
    having count(*) = p_buckets_max;
end
$$;

-- As in 0011.
create or replace function sluice_store.crowded_buckets(
  p_project int,
  p_stream int,
  p_through bigint,
  p_after bytea,
  p_buckets_max int
) returns table (bucket bytea, looked_at bytea) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    with looked as materialized (
      select c.bucket, count(*) as chunks, sum(c.ops) <> sum(c.rows_delta) as has_more_than_rows
      from sluice_store.chunk as c
      where c.project = p_project and c.stream = p_stream and c.bucket > p_after and c.lsn <= p_through
      group by c.bucket
      order by c.bucket
      limit p_buckets_max
    ),
    ended as (select (array_agg(l.bucket order by l.bucket desc))[1] as bucket, count(*) as buckets from looked as l)
    select l.bucket, null::bytea
    from looked as l
    where l.chunks > 1 or l.has_more_than_rows or exists (select from sluice_store.packed_entry(p_project, p_stream, l.bucket))
    union all
    select null, e.bucket from ended as e where e.buckets = p_buckets_max;
end
$$;

-- As in 0011. The base LSN, where it stands outside the directory, or else the directory's head.
create function sluice_store.chunk_outlines(p_project int, p_stream int, p_buckets bytea[], p_through bigint)
returns table (
  bucket bytea,
  lsn bigint,
  seq bigint,
  part bigint,
  ops int,
  rows_delta int,
  payload_bytes int,
  base_lsn bigint,
  directory_head bytea
) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select w.bucket, c.lsn, c.seq, c.part, c.ops, c.rows_delta, c.payload_bytes, c.base_lsn, c.directory_head
    from unnest(p_buckets) as w (bucket)
    cross join sluice_store.floors(p_project, array[p_stream], array[-1], p_through) as f
    cross join lateral (
      select x.lsn, x.seq, x.part, x.ops, x.rows_delta, x.payload_bytes, null::bigint as base_lsn,
        substring(x.directory from 1 for 24) as directory_head
      from sluice_store.chunk as x
      where x.project = p_project and x.stream = p_stream and x.bucket = w.bucket and x.lsn <= p_through
      union all
      select y.lsn, y.seq, y.part, y.ops, y.rows_delta, y.payload_bytes, y.base_lsn,
        case when y.format = 0 then substring(y.body from y.start for 24) end
      from sluice_store.packed_entry(p_project, p_stream, w.bucket) as y
    ) as c
    where (c.lsn, c.seq) >= (f.lsn, f.seq)
    order by w.bucket, c.lsn, c.seq, c.part;
end
$$;

-- A chunk that stands in a pack comes as that pack's body and where in it the chunk is (`pack_start` counts from 1; 0 is for a
-- loose chunk). Chunks of one pack follow one another, and only the first of them brings the body.
create function sluice_store.read_exact_chunks(
  p_project int,
  p_stream int,
  p_bucket bytea[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[]
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
  payload bytea,
  pack_format smallint,
  pack_start int,
  directory_bytes int,
  stored_bytes int
) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select p_stream, c.bucket, c.lsn, c.seq, c.part, c.ops, c.rows_delta, c.checksum_delta, c.codec, c.payload_bytes, c.directory,
      case when c.first_bucket is distinct from lag(c.first_bucket) over (order by c.bucket, c.lsn, c.seq, c.part)
        or c.first_bucket is null
      then c.payload else '' end,
      c.format, c.start, c.directory_bytes, c.stored_bytes
    from (
      select x.bucket, x.lsn, x.seq, x.part, x.ops, x.rows_delta, x.checksum_delta, x.codec, x.payload_bytes, x.directory,
        x.payload, null::bytea as first_bucket, 0::smallint as format, 0 as start, 0 as directory_bytes, 0 as stored_bytes
      from unnest(p_bucket, p_lsn, p_seq, p_part) as w (bucket, lsn, seq, part)
      cross join lateral (
        select y.* from sluice_store.chunk as y
        where y.project = p_project and y.stream = p_stream and y.bucket = w.bucket and y.lsn = w.lsn and y.seq = w.seq
          and y.part = w.part
        offset 0
      ) as x
      union all
      select w.bucket, y.lsn, y.seq, y.part, y.ops, y.rows_delta, y.checksum_delta, y.codec, y.payload_bytes, ''::bytea,
        y.body, y.first_bucket, y.format, y.start, y.directory_bytes, y.stored_bytes
      from unnest(p_bucket, p_lsn, p_seq, p_part) as w (bucket, lsn, seq, part)
      cross join lateral sluice_store.packed_entry(p_project, p_stream, w.bucket) as y
      where (y.lsn, y.seq, y.part) = (w.lsn, w.seq, w.part)
    ) as c
    order by c.bucket, c.lsn, c.seq, c.part;
end
$$;

-- As in 0011; chunks that stand in packs come as from read_exact_chunks, and count with their own bytes.
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
  payload bytea,
  pack_format smallint,
  pack_start int,
  directory_bytes int,
  stored_bytes int
) language plpgsql as $$
declare
  bytes bigint := 0;
  has_packs boolean;
  region bytea;
  open_region bytea;
begin
  perform set_config('sluice.project', p_project::text, true);
  -- Packed is only what lies below the floor, so a live client's next chunks never are.
  select exists (select from sluice_store.floor as f where f.project = p_project and f.read_lsn > p_after) into has_packs;
  for
    stream, bucket, lsn, seq, part, ops, rows_delta, checksum_delta, codec, payload_bytes, directory, payload,
    pack_format, pack_start, directory_bytes, stored_bytes, region
  in
    select
      w.stream, w.bucket, c.lsn, c.seq, c.part, c.ops, c.rows_delta, c.checksum_delta, c.codec, c.payload_bytes,
      c.directory, c.payload, c.format, c.start, c.directory_bytes, c.stored_bytes, c.first_bucket
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
      from (
        select y.lsn, y.seq, y.part, y.ops, y.rows_delta, y.checksum_delta, y.codec, y.payload_bytes, y.directory, y.payload,
          0::smallint as format, 0 as start, 0 as directory_bytes, 0 as stored_bytes, null::bytea as first_bucket
        from sluice_store.chunk as y
        where y.project = p_project and y.stream = w.stream and y.bucket = w.bucket
          and y.lsn > p_after and y.lsn <= p_through
        union all
        select z.lsn, z.seq, z.part, z.ops, z.rows_delta, z.checksum_delta, z.codec, z.payload_bytes, ''::bytea, z.body,
          z.format, z.start, z.directory_bytes, z.stored_bytes, z.first_bucket
        from sluice_store.packed_entry(p_project, w.stream, w.bucket) as z
        where has_packs
      ) as x
      where x.lsn > p_after and x.lsn <= p_through and (x.lsn, x.seq) >= (f.lsn, f.seq)
        and (w.stream, w.bucket, x.lsn, x.seq, x.part)
          > (p_from_stream, p_from_bucket, p_from_lsn, p_from_seq, p_from_part)
      order by x.lsn, x.seq, x.part
    ) as c
    order by w.stream, w.bucket, c.lsn, c.seq, c.part
  loop
    if pack_start = 0 then
      bytes := bytes + octet_length(directory) + octet_length(payload);
    else
      bytes := bytes + directory_bytes + stored_bytes;
      if region = open_region then
        payload := '';
      end if;
      open_region := region;
    end if;
    return next;
    exit when bytes >= p_bytes_max;
  end loop;
  perform sluice_store.assert_whole(p_project, p_streams);
  perform sluice_store.assert_unfolded(p_project, p_streams, nullif(p_after, 0), p_through);
end
$$;

-- As in 0011.
create or replace function sluice_store.read_sums(p_project int, p_streams int[], p_buckets bytea[], p_through bigint)
returns table (bucket bytea, checksum numeric, row_count bigint) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select w.bucket, sum(c.checksum_delta), sum(c.rows_delta)
    from (select distinct u.stream, u.bucket from unnest(p_streams, p_buckets) as u (stream, bucket)) as w
    join sluice_store.floors(p_project, p_streams, array_fill(-1, array[cardinality(p_streams)]), p_through) as f
      on f.stream = w.stream
    cross join lateral (
      select y.lsn, y.seq, y.checksum_delta, y.rows_delta
      from sluice_store.chunk as y
      where y.project = p_project and y.stream = w.stream and y.bucket = w.bucket and y.lsn <= p_through
      union all
      select z.lsn, z.seq, z.checksum_delta, z.rows_delta
      from sluice_store.packed_entry(p_project, w.stream, w.bucket) as z
    ) as c
    where c.lsn <= p_through and (c.lsn, c.seq) >= (f.lsn, f.seq)
    group by w.stream, w.bucket;
  perform sluice_store.assert_whole(p_project, p_streams);
  perform sluice_store.assert_unfolded(p_project, p_streams, null, p_through);
end
$$;

-- As in 0012.
create or replace function sluice_store.bucket_digest(
  p_project int,
  p_stream int,
  p_through bigint,
  p_from bytea,
  p_groups_max int,
  out groups bigint,
  out row_count bigint,
  out digest numeric,
  out next bytea
) language plpgsql as $$
declare
  packs_per_window constant int := 64;
begin
  perform set_config('sluice.project', p_project::text, true);
  select w.bucket into next
  from (
    (
      select c.bucket from sluice_store.chunk as c
      where c.project = p_project and c.stream = p_stream and c.bucket >= p_from
      order by c.bucket offset p_groups_max limit 1
    )
    union all
    (
      select q.first_bucket from sluice_store.pack as q
      where q.project = p_project and q.stream = p_stream and q.first_bucket > p_from
      order by q.first_bucket offset packs_per_window limit 1
    )
  ) as w
  order by w.bucket limit 1;
  -- One bucket with more chunks than a window has: it is a window by itself.
  if next = p_from then
    select c.bucket into next
    from sluice_store.chunk as c
    where c.project = p_project and c.stream = p_stream and c.bucket > p_from
    order by c.bucket limit 1;
  end if;
  select
    count(*), coalesce(sum(b.row_count), 0),
    coalesce(sum(hashtextextended(b.checksum::text || ' ' || b.row_count::text, 0)::numeric), 0)
  into groups, row_count, digest
  from (
    select mod(mod(sum(c.checksum_delta), 2::numeric ^ 64) + 2::numeric ^ 64, 2::numeric ^ 64) as checksum,
      sum(c.rows_delta) as row_count
    from (
      select x.bucket, x.lsn, x.seq, x.checksum_delta, x.rows_delta
      from sluice_store.chunk as x
      where x.project = p_project and x.stream = p_stream and x.bucket >= p_from and (next is null or x.bucket < next)
      union all
      select y.bucket, y.lsn, y.seq, y.checksum_delta, y.rows_delta
      from sluice_store.pack as q
      cross join lateral sluice_store.pack_entries(q) as y
      where q.project = p_project and q.stream = p_stream and (next is null or q.first_bucket < next)
        and q.first_bucket >= coalesce((
          select r.first_bucket from sluice_store.pack as r
          where r.project = p_project and r.stream = p_stream and r.first_bucket <= p_from
          order by r.first_bucket desc limit 1
        ), '')
        and y.bucket >= p_from and (next is null or y.bucket < next)
    ) as c
    cross join sluice_store.floors(p_project, array[p_stream], array[-1], p_through) as f
    where c.lsn <= p_through and (c.lsn, c.seq) >= (f.lsn, f.seq)
    group by c.bucket
  ) as b
  where b.row_count <> 0 or b.checksum <> 0;
  perform sluice_store.assert_whole(p_project, array[p_stream]);
  perform sluice_store.assert_unfolded(p_project, array[p_stream], null, p_through);
end
$$;

-- Erases what is void at every checkpoint that can be read: chunks below a TRUNCATE or the back-fill point, membership ops
-- that a later one supersedes, and tombstones that no client needs. Outcomes: 0 more may be left, 1 nothing is, 3 fenced.
-- Packed chunks below (void_lsn, void_seq) are void as well, and left to the caller.
create function sluice_store.sweep_stream(
  p_project int,
  p_token bigint,
  p_stream int,
  p_rows_max int,
  out outcome int,
  out void_lsn bigint,
  out void_seq bigint
) language plpgsql as $$
declare
  floors record;
  below record;
  swept int := 0;
  rows int;
begin
  if not sluice_store.lock_compacted(p_project, p_token, p_stream) then
    outcome := 3;
    return;
  end if;
  select f.read_lsn, f.resume_lsn into floors
  from sluice_store.stream as s
  join sluice_store.floor as f on f.project = p_project and f.epoch = s.epoch
  where s.project = p_project and s.stream = p_stream;
  if not found then
    outcome := 1;
    return;
  end if;

  select v.lsn, v.seq into below
  from sluice_store.floors(p_project, array[p_stream], array[-1], floors.read_lsn) as v;
  delete from sluice_store.chunk as c
  where c.ctid = any (array(
    select x.ctid from sluice_store.chunk as x
    where x.project = p_project and x.stream = p_stream and (x.lsn, x.seq) < (below.lsn, below.seq)
    limit p_rows_max
  )) and c.project = p_project;
  get diagnostics swept = row_count;
  void_lsn := below.lsn;
  void_seq := below.seq;

  -- Reads of membership are as of a checkpoint that a client resumes from, or later.
  delete from sluice_store.membership as m
  where m.ctid = any (array(
    select o.ctid
    from (
      select
        x.ctid, x.lsn, x.seq, x.membership, x.present,
        lead(x.lsn) over (
          partition by x.membership, x.lookup, x.row_key order by x.lsn, x.seq
        ) as next_lsn
      from sluice_store.membership as x
      where x.project = p_project and x.stream = p_stream and x.lsn <= floors.resume_lsn
    ) as o
    left join sluice_store.floors(
      p_project,
      array(select p_stream from generate_series(1, (
        select count(distinct t.membership) from sluice_store.truncation as t
        where t.project = p_project and t.stream = p_stream
      ))),
      array(
        select distinct t.membership from sluice_store.truncation as t
        where t.project = p_project and t.stream = p_stream
      ),
      floors.resume_lsn
    ) as v on v.membership = o.membership
    where o.next_lsn is not null or not o.present or (o.lsn, o.seq) < (v.lsn, v.seq)
    limit p_rows_max
  )) and m.project = p_project;
  get diagnostics rows = row_count;
  swept := swept + rows;

  -- The newest TRUNCATE at or below the floor still says what is void; those before it say nothing more.
  delete from sluice_store.truncation as t
  where t.project = p_project and t.stream = p_stream
    and exists (
      select from sluice_store.truncation as n
      where n.project = p_project and n.stream = p_stream and n.membership = t.membership
        and (n.lsn, n.seq) > (t.lsn, t.seq) and n.lsn <= floors.resume_lsn
    );
  outcome := case when swept = 0 then 1 else 0 end;
end
$$;

-- At most so many packs that hold chunks below a position.
create function sluice_store.packs_below(p_project int, p_stream int, p_lsn bigint, p_seq bigint, p_packs_max int)
returns setof sluice_store.pack language sql stable as $$
  select q.*
  from sluice_store.pack as q
  where q.project = p_project and q.stream = p_stream
    and exists (select from unnest(q.lsns, q.seqs) as e (lsn, seq) where (e.lsn, e.seq) < (p_lsn, p_seq))
  order by q.first_bucket
  limit p_packs_max
$$;

drop function sluice_store.packed_chunk(int, int, bytea);
drop function sluice_store.pack_of(int, int, sluice_store.chunk[]);
drop function sluice_store.unpack(sluice_store.pack);

-- As in 0011: everything is found by key, whatever the planner thinks of the table's size.
alter function sluice_store.remove_chunks set enable_seqscan = off;
alter function sluice_store.replace_packs set enable_seqscan = off;
alter function sluice_store.packs_with set enable_seqscan = off;
alter function sluice_store.packable_chunks set enable_seqscan = off;
alter function sluice_store.crowded_buckets set enable_seqscan = off;
alter function sluice_store.chunk_outlines set enable_seqscan = off;
alter function sluice_store.read_exact_chunks set enable_seqscan = off;

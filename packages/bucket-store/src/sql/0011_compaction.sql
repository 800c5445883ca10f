-- Compaction: who does it (a lease with a token that fences), up to where (floors, per epoch), and small buckets packed
-- together. Nothing here is on the path of applying: no row that a frame's commit locks is locked for longer than a read.

-- One row per project that was ever compacted. It outlives an erased project, so that no token is given twice.
create table sluice_store.compaction (
  project int primary key,
  token bigint not null default 0,
  holder text,
  expires_at timestamptz
) with (fillfactor = 50);

-- No read is as of a checkpoint below `read_lsn`, and no client resumes from below `resume_lsn`, which is never the higher
-- one. Both only rise, in a transaction of their own before anything is folded up to them: a reader that looks at them
-- after it has read knows whether it may have read less than all of it.
create table sluice_store.floor (
  project int not null,
  epoch int not null,
  read_lsn bigint not null default 0,
  resume_lsn bigint not null default 0,
  -- The newest checkpoint when the last pass ended: who reads above it began after that pass. Null while one is under way.
  passed_lsn bigint,
  primary key (project, epoch)
) with (fillfactor = 50);

-- Checkpoints and when the source committed them: how an age becomes a position.
create table sluice_store.mark (
  project int not null,
  epoch int not null,
  lsn bigint not null,
  committed_at_ms bigint not null,
  primary key (project, epoch, lsn)
);

-- The oldest checkpoint that a process still reads at, for reads that take long.
create table sluice_store.pin (
  project int not null,
  holder text not null,
  epoch int not null,
  lsn bigint not null,
  expires_at timestamptz not null,
  primary key (project, holder)
);

-- Chunks of many small buckets in one row: a row of its own costs a chunk about 200 bytes besides its content. A pack holds
-- at most one chunk a bucket, ascending by bucket, and no pack of a stream begins between another's first and last bucket.
-- Bucket ids (16 bytes) and bodies (directory, then payload) stand one after the other; the server compresses bodies.
create table sluice_store.pack (
  project int not null,
  stream int not null,
  first_bucket bytea not null,
  entries int not null,
  buckets bytea not null,
  lsns bigint[] not null,
  seqs bigint[] not null,
  parts bigint[] not null,
  checksum_deltas bigint[] not null,
  rows_deltas int[] not null,
  ops int[] not null,
  payload_bytes int[] not null,
  codecs smallint[] not null,
  starts int[] not null,
  directory_bytes int[] not null,
  stored_bytes int[] not null,
  body bytea not null,
  primary key (project, stream, first_bucket)
);

do $$
declare
  table_name text;
begin
  foreach table_name in array array['compaction', 'floor', 'mark', 'pin', 'pack'] loop
    execute format('alter table sluice_store.%I enable row level security', table_name);
    execute format('alter table sluice_store.%I force row level security', table_name);
    execute format(
      'create policy own_project on sluice_store.%I to sluice_store_app '
      'using (project = current_setting(''sluice.project'')::int) '
      'with check (project = current_setting(''sluice.project'')::int)',
      table_name
    );
    execute format('grant select, insert, update, delete on sluice_store.%I to sluice_store_app', table_name);
  end loop;
end
$$;

-- A pack's chunks as rows.
create function sluice_store.unpack(p sluice_store.pack) returns setof sluice_store.chunk language sql immutable as $$
  select
    p.project, p.stream, e.lsn, e.seq, e.part, e.checksum_delta, e.rows_delta, e.ops, e.payload_bytes, e.codec,
    substring(p.buckets from (e.n * 16 - 15)::int for 16),
    substring(p.body from e.start for e.directory_bytes),
    substring(p.body from e.start + e.directory_bytes for e.stored_bytes)
  from unnest(
    p.lsns, p.seqs, p.parts, p.checksum_deltas, p.rows_deltas, p.ops, p.payload_bytes, p.codecs, p.starts,
    p.directory_bytes, p.stored_bytes
  ) with ordinality as e (
    lsn, seq, part, checksum_delta, rows_delta, ops, payload_bytes, codec, start, directory_bytes, stored_bytes, n
  )
$$;

-- The pack that holds these chunks, at most one a bucket.
create function sluice_store.pack_of(p_project int, p_stream int, p_chunks sluice_store.chunk[])
returns setof sluice_store.pack language sql immutable as $$
  select
    p_project, p_stream, (array_agg(e.bucket order by e.bucket))[1], count(*)::int, string_agg(e.bucket, '' order by e.bucket),
    array_agg(e.lsn order by e.bucket), array_agg(e.seq order by e.bucket), array_agg(e.part order by e.bucket),
    array_agg(e.checksum_delta order by e.bucket), array_agg(e.rows_delta order by e.bucket),
    array_agg(e.ops order by e.bucket), array_agg(e.payload_bytes order by e.bucket),
    array_agg(e.codec order by e.bucket), array_agg(e.start order by e.bucket),
    array_agg(octet_length(e.directory) order by e.bucket), array_agg(octet_length(e.payload) order by e.bucket),
    string_agg(e.directory || e.payload, '' order by e.bucket)
  from (
    select
      c.*,
      (
        1 + sum(octet_length(c.directory) + octet_length(c.payload)) over (order by c.bucket)
        - octet_length(c.directory) - octet_length(c.payload)
      )::int as start
    from unnest(p_chunks) as c
  ) as e
$$;

-- The chunk of a bucket that stands in a pack, if any. Ids are hashes, so none is found astride two others.
create function sluice_store.packed_chunk(p_project int, p_stream int, p_bucket bytea)
returns setof sluice_store.chunk language sql stable as $$
  select
    p.project, p.stream, p.lsns[i.n], p.seqs[i.n], p.parts[i.n], p.checksum_deltas[i.n], p.rows_deltas[i.n], p.ops[i.n],
    p.payload_bytes[i.n], p.codecs[i.n], p_bucket,
    substring(p.body from p.starts[i.n] for p.directory_bytes[i.n]),
    substring(p.body from p.starts[i.n] + p.directory_bytes[i.n] for p.stored_bytes[i.n])
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

-- Takes chunks out of their packs: those of the given buckets, or those below a position. Says how many.
create function sluice_store.drop_packed(
  p_project int,
  p_stream int,
  p_buckets bytea[],
  p_below_lsn bigint,
  p_below_seq bigint
) returns int language plpgsql as $$
declare
  dropped int;
begin
  with hit as (
    select distinct r.first_bucket
    from unnest(p_buckets) as w (bucket)
    cross join lateral (
      select q.first_bucket from sluice_store.pack as q
      where q.project = p_project and q.stream = p_stream and q.first_bucket <= w.bucket
      order by q.first_bucket desc
      limit 1
    ) as r
    where p_buckets is not null
    union
    select q.first_bucket
    from sluice_store.pack as q
    where p_buckets is null and q.project = p_project and q.stream = p_stream
      and exists (
        select from unnest(q.lsns, q.seqs) as e (lsn, seq) where (e.lsn, e.seq) < (p_below_lsn, p_below_seq)
      )
  ),
  opened as (
    delete from sluice_store.pack as q using hit
    where q.project = p_project and q.stream = p_stream and q.first_bucket = hit.first_bucket
    returning q as pack
  ),
  chunks as (
    select (o.pack).first_bucket as region, u as chunk, coalesce(
      u.bucket = any (p_buckets), (u.lsn, u.seq) < (p_below_lsn, p_below_seq)
    ) as is_dropped
    from opened as o
    cross join lateral sluice_store.unpack(o.pack) as u
  ),
  kept as (
    insert into sluice_store.pack
    select k.*
    from (select array_agg(c.chunk) as chunks from chunks as c where not c.is_dropped group by c.region) as g
    cross join lateral sluice_store.pack_of(p_project, p_stream, g.chunks) as k
  )
  select count(*) filter (where c.is_dropped) into dropped from chunks as c;
  return dropped;
end
$$;

-- Begins a write of compaction (L3): its lease's holder, on a stream that is shown and not being erased. Erasing waits for
-- the end of the transaction, applying does not.
create function sluice_store.lock_compacted(p_project int, p_token bigint, p_stream int) returns boolean
language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  perform from sluice_store.compaction as c where c.project = p_project and c.token = p_token for no key update;
  if not found then
    return false;
  end if;
  perform from sluice_store.stream as s
  where s.project = p_project and s.stream = p_stream and not s.erasing and s.visible_after is not null
  for share;
  return found;
end
$$;

-- Replaces chunks of one stream by others that mean the same to every reader. Outcomes: 0 done, 3 fenced. The blob is as in
-- write_ops: per new chunk the bucket id, the directory and the payload.
create function sluice_store.replace_chunks(
  p_project int,
  p_token bigint,
  p_stream int,
  p_old_bucket bytea[],
  p_old_lsn bigint[],
  p_old_seq bigint[],
  p_old_part bigint[],
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
  p_part bigint[],
  out outcome int
) language plpgsql as $$
declare
  loose int;
  packed int;
begin
  if not sluice_store.lock_compacted(p_project, p_token, p_stream) then
    outcome := 3;
    return;
  end if;
  delete from sluice_store.chunk as c
  using unnest(p_old_bucket, p_old_lsn, p_old_seq, p_old_part) as o (bucket, lsn, seq, part)
  where c.project = p_project and c.stream = p_stream and c.bucket = o.bucket and c.lsn = o.lsn and c.seq = o.seq
    and c.part = o.part;
  get diagnostics loose = row_count;
  if loose < cardinality(p_old_bucket) then
    packed := sluice_store.drop_packed(
      p_project, p_stream,
      array(
        select o.bucket
        from unnest(p_old_bucket, p_old_lsn, p_old_seq, p_old_part) as o (bucket, lsn, seq, part)
        cross join lateral sluice_store.packed_chunk(p_project, p_stream, o.bucket) as c
        where (c.lsn, c.seq, c.part) = (o.lsn, o.seq, o.part)
      ),
      0, 0
    );
    if loose + packed <> cardinality(p_old_bucket) then
      raise exception 'chunks to be replaced are not all there' using errcode = 'SL002';
    end if;
  end if;
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
  );
  outcome := 0;
end
$$;

-- Buckets after `p_after` that have several chunks at or below `p_through`, or a chunk besides a packed one, or one that
-- holds more than live rows, in order. Looks at `p_buckets_max` buckets; `looked_at` is the last when there may be more.
create function sluice_store.crowded_buckets(
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
    where l.chunks > 1 or l.has_more_than_rows or exists (select from sluice_store.packed_chunk(p_project, p_stream, l.bucket))
    union all
    select null, e.bucket from ended as e where e.buckets = p_buckets_max;
end
$$;

-- Sizes and heads of the chunks of some buckets, in order: enough to decide what to fold. Void ones are left out: joined to
-- others they would come to life.
create function sluice_store.chunk_outlines(p_project int, p_stream int, p_buckets bytea[], p_through bigint)
returns table (
  bucket bytea,
  lsn bigint,
  seq bigint,
  part bigint,
  ops int,
  rows_delta int,
  payload_bytes int,
  directory_head bytea
) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select c.bucket, c.lsn, c.seq, c.part, c.ops, c.rows_delta, c.payload_bytes, substring(c.directory from 1 for 24)
    from unnest(p_buckets) as w (bucket)
    cross join sluice_store.floors(p_project, array[p_stream], array[-1], p_through) as f
    cross join lateral (
      select x.* from sluice_store.chunk as x
      where x.project = p_project and x.stream = p_stream and x.bucket = w.bucket and x.lsn <= p_through
      union all
      select y.* from sluice_store.packed_chunk(p_project, p_stream, w.bucket) as y
    ) as c
    where (c.lsn, c.seq) >= (f.lsn, f.seq)
    order by c.bucket, c.lsn, c.seq, c.part;
end
$$;

create function sluice_store.read_exact_chunks(
  p_project int,
  p_stream int,
  p_bucket bytea[],
  p_lsn bigint[],
  p_seq bigint[],
  p_part bigint[]
) returns setof sluice_store.chunk language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select c.*
    from unnest(p_bucket, p_lsn, p_seq, p_part) as w (bucket, lsn, seq, part)
    cross join lateral (
      select x.* from sluice_store.chunk as x
      where x.project = p_project and x.stream = p_stream and x.bucket = w.bucket and x.lsn = w.lsn and x.seq = w.seq
        and x.part = w.part
      union all
      select y.* from sluice_store.packed_chunk(p_project, p_stream, w.bucket) as y
      where (y.lsn, y.seq, y.part) = (w.lsn, w.seq, w.part)
    ) as c;
end
$$;

-- Packs small chunks of live rows alone, a window of buckets after `p_after` at a time. A pack is opened for that only when a quarter
-- of it is new, so that it is not written again for every bucket that comes. Outcomes: 0 done, 3 fenced; `next` continues.
create function sluice_store.pack_buckets(
  p_project int,
  p_token bigint,
  p_stream int,
  p_through bigint,
  p_after bytea,
  p_buckets_max int,
  out outcome int,
  out next bytea,
  out packed int
) language plpgsql as $$
declare
  chunk_bytes_max constant int := 4096;
  pack_bytes constant int := 16384;
  new_pack_entries_min constant int := 8;
begin
  if not sluice_store.lock_compacted(p_project, p_token, p_stream) then
    outcome := 3;
    return;
  end if;
  outcome := 0;
  with looked as materialized (
    select c.bucket, count(*) as chunks, max(c.lsn) as lsn, max(c.seq) as seq, max(c.part) as part
    from sluice_store.chunk as c
    where c.project = p_project and c.stream = p_stream and c.bucket > p_after
    group by c.bucket
    order by c.bucket
    limit p_buckets_max
  ),
  small as materialized (
    select l.bucket, coalesce(r.first_bucket, '') as region, coalesce(r.entries, 0) as entries
    from looked as l
    join sluice_store.chunk as c
      on c.project = p_project and c.stream = p_stream and c.bucket = l.bucket and c.lsn = l.lsn and c.seq = l.seq
      and c.part = l.part
    left join lateral (
      select q.first_bucket, q.entries, position(l.bucket in q.buckets) as at
      from sluice_store.pack as q
      where q.project = p_project and q.stream = p_stream and q.first_bucket <= l.bucket
      order by q.first_bucket desc
      limit 1
    ) as r on true
    where l.chunks = 1 and l.lsn <= p_through and c.ops = c.rows_delta and octet_length(c.directory) + octet_length(c.payload) <= chunk_bytes_max
      and coalesce(r.at, 0) = 0
  ),
  chosen as (
    select s.region
    from small as s
    group by s.region, s.entries
    having count(*) * 4 >= s.entries and (s.entries > 0 or count(*) >= new_pack_entries_min)
  ),
  moved as (
    delete from sluice_store.chunk as c
    where c.project = p_project and c.stream = p_stream and c.lsn <= p_through and c.bucket = any (array(
      select s.bucket from small as s where s.region in (select h.region from chosen as h)
    ))
    returning c as chunk
  ),
  opened as (
    delete from sluice_store.pack as q
    using chosen as h
    where q.project = p_project and q.stream = p_stream and q.first_bucket = h.region
    returning q as pack
  ),
  chunks as (
    -- A bucket's region is the last that begins at or before it, and it was chosen.
    select m.chunk, (
      select h.region from chosen as h where h.region <= (m.chunk).bucket order by h.region desc limit 1
    ) as region
    from moved as m
    union all
    select u, (o.pack).first_bucket from opened as o cross join lateral sluice_store.unpack(o.pack) as u
  ),
  grouped as (
    select
      c.chunk, c.region,
      sum(octet_length((c.chunk).directory) + octet_length((c.chunk).payload))
        over (partition by c.region order by (c.chunk).bucket) / pack_bytes as part
    from chunks as c
  ),
  written as (
    insert into sluice_store.pack
    select k.*
    from (select array_agg(g.chunk) as chunks from grouped as g group by g.region, g.part) as a
    cross join lateral sluice_store.pack_of(p_project, p_stream, a.chunks) as k
  )
  select
    (select count(*) from moved),
    (select (array_agg(l.bucket order by l.bucket desc))[1] from looked as l having count(*) = p_buckets_max)
  into packed, next;
end
$$;

-- Erases what is void at every checkpoint that can be read: chunks below a TRUNCATE or the back-fill point, membership ops
-- that a later one supersedes, and tombstones that no client needs. Outcomes: 0 more may be left, 1 nothing is, 3 fenced.
create function sluice_store.sweep_stream(p_project int, p_token bigint, p_stream int, p_rows_max int, out outcome int)
language plpgsql as $$
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
  swept := swept + sluice_store.drop_packed(p_project, p_stream, null, below.lsn, below.seq);

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

-- These find everything by key. A table that was not analysed since it was filled looks small to the planner, which would
-- then go through all of it for every key.
alter function sluice_store.drop_packed set enable_seqscan = off;
alter function sluice_store.replace_chunks set enable_seqscan = off;
alter function sluice_store.crowded_buckets set enable_seqscan = off;
alter function sluice_store.chunk_outlines set enable_seqscan = off;
alter function sluice_store.read_exact_chunks set enable_seqscan = off;
alter function sluice_store.pack_buckets set enable_seqscan = off;

-- What a read that is over asks: was it as of a checkpoint that is not folded? `p_after` and `p_through` may be null.
create function sluice_store.assert_unfolded(p_project int, p_streams int[], p_after bigint, p_through bigint)
returns void language plpgsql as $$
begin
  perform from sluice_store.floor as f
  where f.project = p_project
    and f.epoch in (
      select s.epoch from sluice_store.stream as s where s.project = p_project and s.stream = any (p_streams)
    )
    and (p_through < f.read_lsn or p_after < f.resume_lsn);
  if found then
    raise exception 'checkpoint is folded' using errcode = 'SL004';
  end if;
end
$$;

-- Below, the reads of 0006 and 0007 as they were, with packs and with the floors looked at. `p_after` 0 is the beginning.
create or replace function sluice_store.read_chunks(
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
  has_packs boolean;
begin
  perform set_config('sluice.project', p_project::text, true);
  -- Packed is only what lies below the floor, so a live client's next chunks never are.
  select exists (select from sluice_store.floor as f where f.project = p_project and f.read_lsn > p_after) into has_packs;
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
      from (
        select y.*
        from sluice_store.chunk as y
        where y.project = p_project and y.stream = w.stream and y.bucket = w.bucket
          and y.lsn > p_after and y.lsn <= p_through
        union all
        select z.* from sluice_store.packed_chunk(p_project, w.stream, w.bucket) as z where has_packs
      ) as x
      where x.lsn > p_after and x.lsn <= p_through and (x.lsn, x.seq) >= (f.lsn, f.seq)
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
  perform sluice_store.assert_unfolded(p_project, p_streams, nullif(p_after, 0), p_through);
end
$$;

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
      from sluice_store.packed_chunk(p_project, w.stream, w.bucket) as z
    ) as c
    where c.lsn <= p_through and (c.lsn, c.seq) >= (f.lsn, f.seq)
    group by w.stream, w.bucket;
  perform sluice_store.assert_whole(p_project, p_streams);
  perform sluice_store.assert_unfolded(p_project, p_streams, null, p_through);
end
$$;

create or replace function sluice_store.read_membership(
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
  -- Clients prove what they hold as of the checkpoint that they resume from.
  perform sluice_store.assert_whole(p_project, p_streams);
  perform sluice_store.assert_unfolded(p_project, p_streams, p_through, null);
end
$$;

create or replace function sluice_store.read_membership_touched(
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
  perform sluice_store.assert_unfolded(p_project, p_streams, p_after, null);
end
$$;

create or replace function sluice_store.read_truncated(p_project int, p_streams int[], p_after bigint, p_through bigint)
returns table (stream int) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select distinct t.stream
    from sluice_store.truncation as t
    join sluice_store.stream as s on s.project = p_project and s.stream = t.stream
    where t.project = p_project and t.stream = any (p_streams) and t.membership = -1
      and t.lsn > p_after and t.lsn <= p_through and t.lsn >= coalesce(s.backfill_point, 0)
    order by t.stream;
  perform sluice_store.assert_unfolded(p_project, p_streams, p_after, null);
end
$$;

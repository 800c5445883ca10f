-- Digests of a stream's content as of a checkpoint, a window of groups at a time: two generations of one stream hold the same
-- rows in the same buckets when the digests of all their groups add up to the same. A group's id plays no part, since it
-- differs from generation to generation. `next` is where the next window begins.

create function sluice_store.bucket_digest(
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
      cross join lateral sluice_store.unpack(q) as y
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

create function sluice_store.lookup_digest(
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
  sets int[];
begin
  perform set_config('sluice.project', p_project::text, true);
  -- Windows are by lookup, over all sets: a lookup's id is of one set alone.
  select coalesce(array_agg(distinct m.membership), '{}') into sets
  from sluice_store.membership as m
  where m.project = p_project and m.stream = p_stream;
  select w.lookup into next
  from (
    select distinct m.lookup
    from unnest(sets) as s (membership)
    join sluice_store.membership as m
      on m.project = p_project and m.stream = p_stream and m.membership = s.membership and m.lookup >= p_from
  ) as w
  order by w.lookup offset p_groups_max limit 1;
  select count(*), coalesce(sum(l.row_count), 0), coalesce(sum(hashtextextended(l.content::text, 0)::numeric), 0)
  into groups, row_count, digest
  from (
    select n.membership, n.lookup, count(*) as row_count,
      sum(hashtextextended(n.membership::text || encode(n.row_key, 'hex') || encode(n.value, 'hex'), 0)::numeric) as content
    from (
      select distinct on (m.membership, m.lookup, m.row_key) m.membership, m.lookup, m.row_key, m.value, m.present
      from unnest(sets) as s (membership)
      join sluice_store.membership as m
        on m.project = p_project and m.stream = p_stream and m.membership = s.membership and m.lookup >= p_from
        and (next is null or m.lookup < next) and m.lsn <= p_through
      join sluice_store.floors(p_project, array_fill(p_stream, array[cardinality(sets)]), sets, p_through) as f
        on f.membership = m.membership and (m.lsn, m.seq) >= (f.lsn, f.seq)
      order by m.membership, m.lookup, m.row_key, m.lsn desc, m.seq desc
    ) as n
    where n.present
    group by n.membership, n.lookup
  ) as l;
  perform sluice_store.assert_whole(p_project, array[p_stream]);
  perform sluice_store.assert_unfolded(p_project, array[p_stream], null, p_through);
end
$$;

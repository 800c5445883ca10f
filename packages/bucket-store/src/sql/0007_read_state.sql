-- Small reads that sessions and workers make often, each in one round trip and of one moment.

create function sluice_store.read_checkpoint(p_project int)
returns table (epoch int, lsn bigint, committed_at_ms bigint) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select e.epoch, e.checkpoint_lsn, e.checkpoint_committed_at_ms
    from sluice_store.epoch as e
    where e.project = p_project and e.state = 'serving' and e.checkpoint_lsn is not null;
end
$$;

create function sluice_store.read_truncated(p_project int, p_streams int[], p_after bigint, p_through bigint)
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
end
$$;

create function sluice_store.read_streams(p_project int)
returns table (
  stream int,
  epoch int,
  name text,
  content_hash text,
  plan json,
  activated_at bigint,
  backfill_point bigint,
  loaded_tables text[],
  visible_after bigint,
  dropped_after bigint
) language plpgsql as $$
begin
  perform set_config('sluice.project', p_project::text, true);
  return query
    select
      s.stream, s.epoch, s.name, s.content_hash, s.plan, s.activated_at, s.backfill_point, s.loaded_tables,
      s.visible_after, s.dropped_after
    from sluice_store.stream as s
    where s.project = p_project and not s.erasing
    order by s.stream;
end
$$;

-- One row per shard of the epochs that are served or built, the project's own columns repeated; an epoch without shards
-- and a project without epochs give one row with nulls.
create function sluice_store.read_source(p_project int)
returns table (
  lease_token bigint,
  condition json,
  epoch int,
  state text,
  identity json,
  map_version int,
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
      p.lease_token, p.condition, e.epoch, e.state, e.identity, e.map_version, e.held, e.checkpoint_lsn,
      e.checkpoint_committed_at_ms, s.shard, s.applied_lsn, s.applied_seq, s.barrier_lsn, s.barrier_end_lsn,
      s.previous_barrier_end_lsn
    from sluice_store.project as p
    left join sluice_store.epoch as e on e.project = p_project and e.state <> 'retired'
    left join sluice_store.shard as s on s.project = p_project and s.epoch = e.epoch
    where p.project = p_project and not p.erased
    order by e.epoch, s.shard;
end
$$;

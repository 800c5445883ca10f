-- Applies one frame's result exactly once (L3) in the one statement that is its transaction. Outcomes: 0 applied,
-- 1 skipped (it was applied before), 2 gap (stream again, or evaluate again), 3 fenced.
create function sluice_store.apply_frame(
  p_project int,
  p_epoch int,
  p_shard int,
  p_map_version int,
  p_token bigint,
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
  shard_row record;
  epoch_row record;
  streams_are_current boolean;
begin
  perform set_config('sluice.project', p_project::text, true);

  select s.map_version, s.lease_token, s.applied_lsn, s.applied_seq into shard_row
  from sluice_store.shard as s
  where s.project = p_project and s.epoch = p_epoch and s.shard = p_shard
  for no key update;
  if not found or shard_row.lease_token <> p_token or shard_row.map_version <> p_map_version then
    outcome := 3;
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
      p_project, p_end_lsn, p_end_seq, 0, p_blob, p_chunk_stream, p_chunk_offset, p_chunk_directory_bytes,
      p_chunk_stored_bytes, p_chunk_payload_bytes, p_chunk_codec, p_chunk_ops, p_chunk_rows_delta,
      p_chunk_checksum_delta, p_member_stream, p_member_set, p_member_present, p_member_lsn, p_member_seq,
      p_member_offset, p_member_value_bytes
    );
  end if;
  if cardinality(p_truncate_stream) > 0 then
    insert into sluice_store.truncation (project, stream, membership, lsn, seq)
    select p_project, t.stream, t.membership, t.lsn, t.seq
    from unnest(p_truncate_stream, p_truncate_set, p_truncate_lsn, p_truncate_seq) as t (stream, membership, lsn, seq);
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

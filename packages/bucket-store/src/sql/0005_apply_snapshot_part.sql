-- Applies a part of a copy exactly once (L10). Outcomes: 0 applied, 1 skipped, 3 fenced.
create function sluice_store.apply_snapshot_part(
  p_project int,
  p_epoch int,
  p_token bigint,
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

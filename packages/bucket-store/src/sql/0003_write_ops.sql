-- Inserts one commit's chunks, membership ops and truncates. The blob holds their bytes one after the other: per chunk
-- the bucket id (16 bytes), the directory and the payload; then per membership op the lookup id (16), the row key's
-- digest (16) and the value. The arrays say what stands where; offsets count from 1.
create function sluice_store.write_ops(
  p_project int,
  p_lsn bigint,
  p_seq bigint,
  p_part_base bigint,
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
  p_member_value_bytes int[]
) returns void language plpgsql as $$
begin
  if cardinality(p_chunk_stream) > 0 then
    insert into sluice_store.chunk (
      project, stream, lsn, seq, part, checksum_delta, rows_delta, ops, payload_bytes, codec, bucket, directory, payload
    )
    select
      p_project, c.stream, p_lsn, p_seq, p_part_base + c.n - 1, c.checksum_delta, c.rows_delta, c.ops, c.payload_bytes,
      c.codec::smallint,
      substring(p_blob from c.at for 16),
      substring(p_blob from c.at + 16 for c.directory_bytes),
      substring(p_blob from c.at + 16 + c.directory_bytes for c.stored_bytes)
    from unnest(
      p_chunk_stream, p_chunk_offset, p_chunk_directory_bytes, p_chunk_stored_bytes, p_chunk_payload_bytes,
      p_chunk_codec, p_chunk_ops, p_chunk_rows_delta, p_chunk_checksum_delta
    ) with ordinality as c (
      stream, at, directory_bytes, stored_bytes, payload_bytes, codec, ops, rows_delta, checksum_delta, n
    );
  end if;
  if cardinality(p_member_stream) > 0 then
    insert into sluice_store.membership (
      project, stream, membership, present, lsn, seq, lookup, row_key, value
    )
    select
      p_project, m.stream, m.membership, m.present = 1, m.lsn, m.seq,
      substring(p_blob from m.at for 16),
      substring(p_blob from m.at + 16 for 16),
      substring(p_blob from m.at + 32 for m.value_bytes)
    from unnest(
      p_member_stream, p_member_set, p_member_present, p_member_lsn, p_member_seq, p_member_offset, p_member_value_bytes
    ) as m (stream, membership, present, lsn, seq, at, value_bytes);
  end if;
end
$$;

-- Adds to the counts of what was left out. `p_issues` is a JSON array of {code, table, count, details}.
create function sluice_store.write_issues(p_project int, p_issues json) returns void language sql as $$
  insert into sluice_store.issue as known (project, code, table_name, count, details, seen_at)
  select p_project, i.code, i.table, sum(i.count), (array_agg(i.details))[1], now()
  from json_to_recordset(p_issues) as i (code text, "table" text, count bigint, details json)
  group by i.code, i.table
  on conflict (project, code, table_name) do update
    set count = known.count + excluded.count, details = excluded.details, seen_at = excluded.seen_at;
$$;

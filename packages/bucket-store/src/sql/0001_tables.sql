-- Everything durable between a source and its clients. The project comes first in every key (L13).
-- A position is (lsn, seq), the commit's LSN and the place within it (L1); both fit a signed bigint.

-- One row per project: its lease and its counters. It outlives an erased project, so that no epoch, stream or token is
-- ever given twice.
create table sluice_store.project (
  project int primary key check (project > 0),
  lease_token bigint not null default 0,
  lease_holder text,
  lease_expires_at timestamptz,
  condition json,
  serving_epoch int,
  next_epoch int not null default 1,
  next_stream int not null default 1,
  erased boolean not null default false
) with (fillfactor = 50);

-- One unbroken lineage of a slot, and its newest readable checkpoint.
create table sluice_store.epoch (
  project int not null,
  epoch int not null,
  state text not null check (state in ('building', 'serving', 'retired')),
  identity json not null,
  map_version int not null,
  shards int not null check (shards > 0),
  held boolean not null,
  checkpoint_lsn bigint,
  checkpoint_committed_at_ms bigint,
  primary key (project, epoch)
) with (fillfactor = 50);

-- How far each shard is applied. It repeats the lease token and the map version, so that a frame's commit fences itself
-- by locking this one row (L3). A retired epoch has no rows here.
create table sluice_store.shard (
  project int not null,
  epoch int not null,
  shard int not null,
  map_version int not null,
  lease_token bigint not null,
  applied_lsn bigint not null,
  applied_seq bigint not null,
  barrier_lsn bigint not null,
  barrier_end_lsn bigint not null,
  barrier_committed_at_ms bigint not null,
  previous_barrier_end_lsn bigint not null,
  primary key (project, epoch, shard)
) with (fillfactor = 50);

-- Generations of streams (L11).
create table sluice_store.stream (
  project int not null,
  stream int not null,
  epoch int not null,
  name text not null,
  content_hash text not null,
  plan json not null,
  activated_at bigint not null,
  -- The greatest LSN that was applied without this generation; a copy must be read above it.
  applied_before bigint not null,
  backfill_point bigint,
  loaded_tables text[] not null default '{}',
  visible_after bigint,
  dropped_after bigint,
  erasing boolean not null default false,
  primary key (project, stream)
);
create index stream_by_epoch on sluice_store.stream (project, epoch);

-- Parts of copies that are applied.
create table sluice_store.snapshot_part (
  project int not null,
  stream int not null,
  point_lsn bigint not null,
  table_name text not null,
  part int not null,
  last boolean not null,
  primary key (project, stream, point_lsn, table_name, part)
);

-- One row a chunk (L8). Payloads come compressed where that pays, so the server does not try again. A chunk that fits a
-- page stays in it: pieces out of line cost twice the time to write, and leave as much of a page unused.
create table sluice_store.chunk (
  project int not null,
  stream int not null,
  lsn bigint not null,
  seq bigint not null,
  part bigint not null,
  checksum_delta bigint not null,
  rows_delta int not null,
  ops int not null,
  payload_bytes int not null,
  codec smallint not null,
  bucket bytea not null,
  directory bytea not null,
  payload bytea not null,
  primary key (project, stream, bucket, lsn, seq, part)
) with (toast_tuple_target = 8160);
alter table sluice_store.chunk alter column bucket set storage plain;
alter table sluice_store.chunk alter column directory set storage external;
alter table sluice_store.chunk alter column payload set storage external;

-- Ops of membership sets, tombstones included; readers take the newest per (lookup, row key) (L6). A row key stands as
-- the first 16 bytes of its SHA-256, since an index cannot hold a long one.
create table sluice_store.membership (
  project int not null,
  stream int not null,
  membership int not null,
  present boolean not null,
  lsn bigint not null,
  seq bigint not null,
  lookup bytea not null,
  row_key bytea not null,
  value bytea not null,
  primary key (project, stream, membership, lookup, row_key, lsn, seq)
);
alter table sluice_store.membership alter column lookup set storage plain;
alter table sluice_store.membership alter column row_key set storage plain;

-- TRUNCATEs: everything below the position is void. Membership -1 stands for the stream's own table.
create table sluice_store.truncation (
  project int not null,
  stream int not null,
  membership int not null,
  lsn bigint not null,
  seq bigint not null,
  primary key (project, stream, membership, lsn, seq)
);

-- What was left out and why, one row per code and table.
create table sluice_store.issue (
  project int not null,
  code text not null,
  table_name text not null,
  count bigint not null,
  details json not null,
  seen_at timestamptz not null,
  primary key (project, code, table_name)
);

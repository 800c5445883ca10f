import type { Epoch, LeaseToken, Position, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { PoolClient } from 'pg';
import { INITIAL_CONDITION } from '../condition.ts';
import type { EpochRecord, RowKeys, ShardRecord, SourceCondition, SourceIdentity, SourceRecord } from '../port.ts';
import type { Database } from './database.ts';
import { lsnFromText } from './frames.ts';
import { lockLease } from './leases.ts';

export interface OpenEpoch {
  readonly token: LeaseToken;
  readonly identity: SourceIdentity;
  readonly start: Position;
  readonly shards: number;
}

export function openEpoch(database: Database, project: ProjectId, request: OpenEpoch): Promise<Epoch> {
  const { token, identity, start, shards } = request;
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    await retireEpochs(client, project, 'building');
    const { rows } = await client.query<{ epoch: number }>(
      'update sluice_store.project set next_epoch = next_epoch + 1 where project = $1 returning next_epoch - 1 as epoch',
      [project],
    );
    const epoch = (rows[0]?.epoch ?? 0) as Epoch;
    await client.query(
      `insert into sluice_store.epoch (project, epoch, state, identity, map_version, shards, held)
      values ($1, $2, 'building', $3, 1, $4, true)`,
      [project, epoch, JSON.stringify(identity), shards],
    );
    await client.query(
      `insert into sluice_store.shard (
        project, epoch, shard, map_version, lease_token, applied_lsn, applied_seq, barrier_lsn, barrier_end_lsn,
        barrier_committed_at_ms, previous_barrier_end_lsn, worker_token
      )
      select $1, $2, n, 1, $3, $5, $6, $5, $5, 0, $5, coalesce(l.token, 0)
      from generate_series(0, $4::int - 1) as n
      left join sluice_store.shard_lease as l on l.project = $1 and l.shard = n`,
      [project, epoch, token, shards, start.lsn, start.seq],
    );
    return epoch;
  });
}

/** Ends the epochs of a state; without shard rows no frame of theirs is applied any more. */
export async function retireEpochs(
  client: PoolClient,
  project: ProjectId,
  state: 'building' | 'serving',
  except: Epoch | undefined = undefined,
): Promise<void> {
  await client.query(
    `delete from sluice_store.shard as s using sluice_store.epoch as e
    where s.project = $1 and e.project = $1 and e.epoch = s.epoch and e.state = $2 and e.epoch is distinct from $3`,
    [project, state, except ?? null],
  );
  await client.query(
    `update sluice_store.epoch set state = 'retired'
    where project = $1 and state = $2 and epoch is distinct from $3`,
    [project, state, except ?? null],
  );
}

export function holdCheckpoints(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  change: { epoch: Epoch; hold: boolean },
): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    const { rowCount } = await client.query(
      `update sluice_store.epoch set held = $3 where project = $1 and epoch = $2 and state <> 'retired'`,
      [project, change.epoch, change.hold],
    );
    if (rowCount !== 1) throw new AppError('STORE_FENCED', { internal: 'hold of a retired epoch' });
  });
}

interface SourceRow {
  lease_token: string;
  condition: SourceCondition | null;
  epoch: number | null;
  state: 'building' | 'serving';
  identity: SourceIdentity;
  map_version: number;
  row_keys: RowKeys;
  held: boolean;
  checkpoint_lsn: string | null;
  checkpoint_committed_at_ms: string | null;
  shard: number | null;
  applied_lsn: string;
  applied_seq: string;
  barrier_lsn: string;
  barrier_end_lsn: string;
  previous_barrier_end_lsn: string;
}

export async function readSource(database: Database, project: ProjectId): Promise<SourceRecord | undefined> {
  const { rows } = await database.query<SourceRow>({
    name: 'sluice_read_source',
    text: `select lease_token, condition, epoch, state, identity, map_version, row_keys, held, checkpoint_lsn,
        checkpoint_committed_at_ms, shard, applied_lsn, applied_seq, barrier_lsn, barrier_end_lsn,
        previous_barrier_end_lsn
      from sluice_store.read_source($1)`,
    values: [project],
  });
  const [first] = rows;
  if (!first) return undefined;
  const recordOf = (state: SourceRow['state']): EpochRecord | undefined => {
    const newest = rows.findLast((row) => row.epoch !== null && row.state === state);
    return newest && epochFromRows(rows.filter((row) => row.epoch === newest.epoch));
  };
  return {
    leaseToken: BigInt(first.lease_token) as LeaseToken,
    condition: first.condition ?? INITIAL_CONDITION,
    serving: recordOf('serving'),
    building: recordOf('building'),
  };
}

/** @param rows one per shard of one epoch, at least one */
function epochFromRows(rows: readonly SourceRow[]): EpochRecord | undefined {
  const [row] = rows;
  if (!row) return undefined;
  const epoch = row.epoch as Epoch;
  return {
    epoch,
    identity: row.identity,
    mapVersion: row.map_version,
    rowKeys: row.row_keys,
    shards: rows.flatMap((one) => (one.shard === null ? [] : [shardFromRow(one.shard, one)])),
    checkpoint:
      row.checkpoint_lsn === null
        ? undefined
        : { epoch, lsn: lsnFromText(row.checkpoint_lsn), committedAtMs: Number(row.checkpoint_committed_at_ms) },
    held: row.held,
  };
}

function shardFromRow(shard: number, row: SourceRow): ShardRecord {
  return {
    shard,
    applied: { lsn: lsnFromText(row.applied_lsn), seq: Number(row.applied_seq) },
    barrier: { lsn: lsnFromText(row.barrier_lsn), endLsn: lsnFromText(row.barrier_end_lsn) },
    previousBarrierEndLsn: lsnFromText(row.previous_barrier_end_lsn),
  };
}

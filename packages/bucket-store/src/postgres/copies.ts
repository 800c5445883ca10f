import type { BucketId, LeaseToken, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { CODEC_STORED } from '@sluice/protocol';
import type { PoolClient } from 'pg';
import { checkCopyPlan } from '../checks.ts';
import { emptyDirectory } from '../empty-directory.ts';
import {
  CORRECTION_PART,
  type CopyPlan,
  type CopyRangeRecord,
  type Settlement,
  type UnsettledBucket,
  type UnsettledRequest,
} from '../port.ts';
import type { Database } from './database.ts';
import { lsnFromText } from './frames.ts';
import { lockLease } from './leases.ts';

interface CopyRow {
  readonly applied_before: string;
  readonly backfill_point: string | null;
  readonly copy_point: string | null;
  readonly visible_after: string | null;
}

/** Locks streams that are in use. @throws AppError STORE_FENCED when one is not: it is unknown, dropped, or being erased */
export async function lockCopied(
  client: PoolClient,
  project: ProjectId,
  streams: readonly StreamNo[],
): Promise<CopyRow[]> {
  const { rows } = await client.query<CopyRow>(
    `select applied_before, backfill_point, copy_point, visible_after from sluice_store.stream
    where project = $1 and stream = any ($2) and dropped_after is null and not erasing order by stream for no key update`,
    [project, streams],
  );
  if (rows.length !== streams.length) throw new AppError('STORE_FENCED', { internal: 'copied streams' });
  return rows;
}

export function planCopy(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  { streams, plan }: { readonly streams: readonly StreamNo[]; readonly plan: CopyPlan },
): Promise<void> {
  checkCopyPlan(plan);
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    for (const row of await lockCopied(client, project, streams))
      assert(row.backfill_point !== null, 'a copy is planned under its point (L10)');
    const known = await client.query(
      'select from sluice_store.snapshot_range where project = $1 and stream = any ($2) and table_name = $3 limit 1',
      [project, streams, plan.table],
    );
    assert(known.rowCount === 0, 'a copy is planned once');
    await client.query(
      `insert into sluice_store.snapshot_range (project, stream, table_name, range, lower_key, upper_key)
      select $1, s.stream, $3, r.n - 1, array(select json_array_elements_text(r.lower_key)),
        array(select json_array_elements_text(r.upper_key))
      from unnest($2::int[]) as s (stream), unnest($4::json[], $5::json[]) with ordinality as r (lower_key, upper_key, n)`,
      [
        project,
        streams,
        plan.table,
        plan.ranges.map(({ lower }) => JSON.stringify(lower ?? [])),
        plan.ranges.map(({ upper }) => JSON.stringify(upper ?? [])),
      ],
    );
  });
}

export function readCopy(database: Database, project: ProjectId, stream: StreamNo): Promise<CopyRangeRecord[]> {
  interface Row {
    table_name: string;
    range: number;
    lower_key: string[];
    upper_key: string[];
    point_lsn: string | null;
  }
  return database.transaction(project, async (client) => {
    const { rows } = await client.query<Row>(
      `select table_name, range, lower_key, upper_key, point_lsn from sluice_store.snapshot_range
      where project = $1 and stream = $2 order by table_name collate "C", range`,
      [project, stream],
    );
    const keyOf = (texts: string[]): string[] | undefined => (texts.length === 0 ? undefined : texts);
    return rows.map((row) => ({
      table: row.table_name,
      range: row.range,
      lower: keyOf(row.lower_key),
      upper: keyOf(row.upper_key),
      point: row.point_lsn === null ? undefined : lsnFromText(row.point_lsn),
    }));
  });
}

export function resumeCopy(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  { streams, point }: { readonly streams: readonly StreamNo[]; readonly point: Lsn },
): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    for (const row of await lockCopied(client, project, streams)) {
      assert(row.visible_after === null, 'nothing is copied into a visible stream (L11)');
      const newest = row.copy_point ?? row.backfill_point;
      assert(newest !== null && lsnFromText(newest) < point, 'a copy is resumed under a newer point (L10)');
    }
    await client.query(
      `update sluice_store.stream set copy_point = $3, is_settled = false where project = $1 and stream = any ($2)`,
      [project, streams, point],
    );
  });
}

export async function readUnsettled(
  database: Database,
  project: ProjectId,
  request: UnsettledRequest,
): Promise<UnsettledBucket[]> {
  const { rows } = await database.query<{ bucket: Buffer; ops: string }>({
    name: 'sluice_read_unsettled',
    text: 'select bucket, ops from sluice_store.read_unsettled($1, $2, $3, $4, $5)',
    values: [project, request.stream, request.through, Buffer.from(request.after ?? '', 'hex'), request.bucketsMax],
  });
  return rows.map(({ bucket, ops }) => ({ bucket: bucket.toString('hex') as BucketId, ops: Number(ops) }));
}

export function settleCopy(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  { stream, corrections, last }: Settlement,
): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    const [row] = await lockCopied(client, project, [stream]);
    assert(row?.copy_point && row.visible_after === null, 'only a resumed copy is settled (L10)');
    await client.query(
      `insert into sluice_store.chunk as known (
        project, stream, lsn, seq, part, checksum_delta, rows_delta, ops, payload_bytes, codec, bucket, directory, payload
      )
      select $1, $2, $3, 0, $4, c.checksum_delta, c.rows_delta, 0, 0, $5, c.bucket, $9, ''
      from unnest($6::bytea[], $7::int[], $8::bigint[]) as c (bucket, rows_delta, checksum_delta)
      on conflict (project, stream, bucket, lsn, seq, part) do update set
        rows_delta = known.rows_delta + excluded.rows_delta,
        checksum_delta = sluice_store.add_mod_64(known.checksum_delta, excluded.checksum_delta)`,
      [
        project,
        stream,
        row.copy_point,
        CORRECTION_PART,
        CODEC_STORED,
        corrections.map(({ bucket }) => Buffer.from(bucket, 'hex')),
        corrections.map(({ rowsDelta }) => rowsDelta),
        corrections.map(({ checksumDelta }) => BigInt.asIntN(64, checksumDelta)),
        emptyDirectory(),
      ],
    );
    if (last)
      await client.query('update sluice_store.stream set is_settled = true where project = $1 and stream = $2', [
        project,
        stream,
      ]);
  });
}

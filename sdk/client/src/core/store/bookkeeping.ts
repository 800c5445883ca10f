import {
  type BucketId,
  type Checkpoint,
  Checksum,
  lsnFromBigint,
  parseEpoch,
  parseStreamNo,
  type StreamNo,
} from '@sluice/domain';
import type { Database } from '../sqlite/database.ts';
import { ANSWERED_TABLES } from '../writes/answered-writes.ts';
import { PENDING_TABLES } from '../writes/pending-queue.ts';
import { EMPTY_SCHEMA, formatSchema, readSchema, type Schema } from './schema.ts';

/** Raised when these tables or columns change meaning; a database of another format is emptied and loaded again. */
export const STORE_FORMAT = 2;

const CREATE = `
CREATE TABLE IF NOT EXISTS _sluice_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  client_id TEXT NOT NULL,
  project TEXT NOT NULL,
  schema TEXT NOT NULL,
  epoch INTEGER,
  lsn INTEGER,
  committed_at_ms ANY,
  applied_at_ms INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS _sluice_bucket (
  number INTEGER PRIMARY KEY,
  bucket TEXT NOT NULL UNIQUE,
  stream INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  rows INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS _sluice_stage (
  id INTEGER PRIMARY KEY,
  payload BLOB NOT NULL
) STRICT;
`;

/** One bucket that the database holds, with its running totals. */
export interface BucketState {
  /** Number in this database, from 1; rows name their holders by it. */
  readonly number: number;
  readonly bucket: BucketId;
  readonly stream: StreamNo;
  readonly checksum: Checksum;
  rows: number;
}
export interface ReplicaState {
  readonly clientId: string;
  readonly schema: Schema;
  readonly checkpoint: Checkpoint | undefined;
  readonly appliedAtMs: number | undefined;
}

/** Creates the bookkeeping tables and the state row of an empty database. */
export function initialize(db: Database, identity: { clientId: string; project: string }): void {
  db.script(CREATE);
  db.script(PENDING_TABLES);
  db.script(ANSWERED_TABLES);
  db.run('INSERT OR IGNORE INTO _sluice_state (id, format, client_id, project, schema) VALUES (1, ?, ?, ?, ?)', [
    STORE_FORMAT,
    identity.clientId,
    identity.project,
    formatSchema(EMPTY_SCHEMA),
  ]);
}

/** Undefined when the database is of another format or project and must be emptied. */
export function readState(db: Database, project: string): ReplicaState | undefined {
  let state: ReplicaState | undefined;
  db.forEachRow(
    'SELECT format, project, client_id, schema, epoch, lsn, committed_at_ms, applied_at_ms FROM _sluice_state',
    [],
    (row) => {
      if (row.int(0) !== STORE_FORMAT || row.text(1) !== project) return;
      const epoch = row.int(4);
      state = {
        clientId: row.text(2),
        schema: readSchema(row.text(3)),
        checkpoint:
          epoch === 0
            ? undefined
            : { epoch: parseEpoch(epoch), lsn: lsnFromBigint(row.int64(5)), committedAtMs: row.double(6) },
        appliedAtMs: epoch === 0 ? undefined : row.double(7),
      };
    },
  );
  return state;
}

export function writeClientId(db: Database, clientId: string): void {
  db.run('UPDATE _sluice_state SET client_id = ?', [clientId]);
}
export function writeSchema(db: Database, schema: Schema): void {
  db.run('UPDATE _sluice_state SET schema = ?', [formatSchema(schema)]);
}
export function writeCheckpoint(db: Database, checkpoint: Checkpoint, appliedAtMs: number): void {
  db.run('UPDATE _sluice_state SET epoch = ?, lsn = ?, committed_at_ms = ?, applied_at_ms = ?', [
    checkpoint.epoch,
    checkpoint.lsn,
    checkpoint.committedAtMs,
    Math.round(appliedAtMs),
  ]);
}

export function readBuckets(db: Database): BucketState[] {
  const buckets: BucketState[] = [];
  db.forEachRow('SELECT number, bucket, stream, checksum, rows FROM _sluice_bucket ORDER BY number', [], (row) => {
    const checksum = new Checksum();
    const sum = BigInt.asUintN(64, row.int64(3));
    checksum.add(Number(sum & 0xffffffffn), Number(sum >> 32n));
    buckets.push({
      number: row.int(0),
      bucket: row.text(1) as BucketId,
      stream: parseStreamNo(row.int(2)),
      checksum,
      rows: row.double(4),
    });
  });
  return buckets;
}

export function insertBucket(db: Database, { number, bucket, stream, checksum, rows }: BucketState): void {
  db.run('INSERT INTO _sluice_bucket (number, bucket, stream, checksum, rows) VALUES (?, ?, ?, ?, ?)', [
    number,
    bucket,
    stream,
    BigInt.asIntN(64, checksum.toBigint()),
    rows,
  ]);
}
export function updateBucket(db: Database, { number, checksum, rows }: BucketState): void {
  db.run('UPDATE _sluice_bucket SET checksum = ?, rows = ? WHERE number = ?', [
    BigInt.asIntN(64, checksum.toBigint()),
    rows,
    number,
  ]);
}
export function deleteBucket(db: Database, number: number): void {
  db.run('DELETE FROM _sluice_bucket WHERE number = ?', [number]);
}

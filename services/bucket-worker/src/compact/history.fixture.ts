import type { BucketRef, BucketStore, ChunkWrite, StoredChunk } from '@sluice/bucket-store';
import { bucketId, lookupId, lsn, member, StoreDriver, truncate } from '@sluice/bucket-store/conformance';
import {
  type BucketId,
  ByteWriter,
  Hash64,
  type LeaseToken,
  type Lsn,
  type ProjectId,
  rowHash,
  type StreamNo,
  tableSeed,
  writeCell,
} from '@sluice/domain';
import {
  appendDirectoryEntry,
  appendOp,
  CODEC_STORED,
  forEachOp,
  OP_PUT,
  OP_REMOVE,
  readDirectory,
  readDirectoryBase,
  writeDirectoryHead,
} from '@sluice/protocol';
import type { SeededRandom } from '@sluice/testkit';
import { openChunk } from './payload-codec.ts';

/** Rows of one bucket: row key to encoded row, both as latin1 text. */
export type Rows = ReadonlyMap<string, string>;
interface Snapshot {
  readonly at: number;
  readonly rowsByBucket: ReadonlyMap<BucketId, Rows>;
  /** Values by membership row. */
  readonly members: ReadonlyMap<string, string>;
}
export interface Op {
  readonly key: number;
  /** Undefined removes. */
  readonly text: string | undefined;
}

const SEED = tableSeed('items');
const FEW_BUCKETS = 4;

/** Writes a random history of one stream, and remembers what every checkpoint must show. */
export class RecordedHistory {
  readonly driver: StoreDriver;
  readonly snapshots: Snapshot[] = [];
  stream = 0 as StreamNo;
  private readonly random: SeededRandom;
  private rowsByBucket = new Map<BucketId, Rows>();
  private members = new Map<string, string>();
  at = 100;
  truncateShare = 0;
  private readonly buckets: readonly number[];

  constructor(store: BucketStore, project: ProjectId, random: SeededRandom, buckets = FEW_BUCKETS) {
    this.buckets = Array.from({ length: buckets }, (_, i) => i + 1);
    this.driver = new StoreDriver(store, project);
    this.random = random;
  }

  async begin(): Promise<void> {
    this.stream = await this.driver.serve();
    await this.commit(new Map());
  }

  get refs(): BucketRef[] {
    return this.buckets.map((bucket) => ({ stream: this.stream, bucket: bucketId(bucket) }));
  }
  get head(): Snapshot {
    return this.snapshots.at(-1) as Snapshot;
  }

  /** A barrier with random changes, often of the same rows. */
  async step(): Promise<void> {
    const { random } = this;
    const ops = new Map<number, Op[]>();
    for (const bucket of this.buckets) {
      if (random.chance(0.4)) continue;
      const keys = new Set(Array.from({ length: random.int(1, 4) }, () => random.int(0, bucket === 1 ? 0 : 8)));
      ops.set(
        bucket,
        [...keys].map((key) => ({
          key,
          text: random.chance(0.3) ? undefined : `v${this.at} ${'x'.repeat(random.int(0, 40))}`,
        })),
      );
    }
    await this.commit(ops, { truncates: random.chance(this.truncateShare), touches: random.chance(0.4) });
  }

  async commit(ops: ReadonlyMap<number, readonly Op[]>, also = { truncates: false, touches: false }): Promise<void> {
    this.at += this.random.int(2, 9);
    const { at, stream, driver } = this;
    const rows = new Map(also.truncates ? [] : this.rowsByBucket);
    const chunks = [...ops].map(([bucket, list]) => {
      const id = bucketId(bucket);
      const made = chunkOf(stream, id, { at, ops: list, before: rows.get(id) ?? new Map() });
      rows.set(id, made.after);
      return made.chunk;
    });
    const row = `m${this.random.int(0, 2)}`;
    const value = `value ${this.random.int(0, 3)}`;
    const present = this.random.chance(0.6);
    const memberOp = member(stream, { at: { lsn: lsn(at), seq: 65_536 }, row, value, present });
    await driver.barrier(at, {
      chunks,
      truncates: also.truncates ? [truncate(stream, at, 1)] : [],
      memberships: also.touches ? [memberOp] : [],
    });
    if (also.touches) {
      this.members = new Map(this.members);
      if (present) this.members.set(row, value);
      else this.members.delete(row);
    }
    this.rowsByBucket = rows;
    this.snapshots.push({ at, rowsByBucket: rows, members: this.members });
  }

  /** What the store shows of each bucket as of a checkpoint, reading it in pages of one chunk; `between` runs after each. */
  async reductionAt(through: number, between: () => Promise<void> = async () => {}): Promise<Map<BucketId, Rows>> {
    const { store, project } = this.driver;
    const shown = new Map<BucketId, Map<string, string>>();
    let cursor: string | undefined;
    do {
      const range = { after: lsn(0), through: lsn(through) };
      const page = await store.readChunks(project, { buckets: this.refs, ...range, bytesMax: 1, cursor });
      for (const chunk of page.chunks) applyOps(shown, chunk, 0n as Lsn);
      cursor = page.next;
      await between();
    } while (cursor !== undefined);
    return shown;
  }

  /** What a client that holds the checkpoint `after` shows once it has got the changes up to `through`. */
  async resumed(after: Snapshot, through: number): Promise<Map<BucketId, Rows>> {
    const { store, project } = this.driver;
    const shown = new Map([...after.rowsByBucket].map(([bucket, rows]) => [bucket, new Map(rows)]));
    if ((await store.readTruncated(project, [this.stream], lsn(after.at), lsn(through))).length > 0)
      return this.reductionAt(through) as Promise<Map<BucketId, Map<string, string>>>;
    const range = { after: lsn(after.at), through: lsn(through) };
    const { chunks } = await store.readChunks(project, {
      buckets: this.refs,
      ...range,
      bytesMax: 1 << 24,
      cursor: undefined,
    });
    for (const chunk of chunks) applyOps(shown, chunk, range.after);
    return shown;
  }

  async membersAt(through: number): Promise<string[]> {
    const ref = { stream: this.stream, membership: 0, lookup: lookupId(1) };
    const values = await this.driver.store.readMembership(this.driver.project, [ref], lsn(through));
    return values.get(ref.lookup) ?? [];
  }
  get token(): LeaseToken {
    return this.driver.token;
  }
}

/** Rows of buckets without empty ones, comparable. */
export function plainRows(rows: ReadonlyMap<BucketId, Rows>): Record<string, Record<string, string>> {
  return Object.fromEntries(
    [...rows]
      .filter(([, map]) => map.size > 0)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([bucket, map]) => [bucket, Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)))]),
  );
}
export function sumsOf(rows: Rows): { checksum: bigint; rows: number } {
  const total = [...rows.values()].reduce((sum, row) => sum + rowHash(SEED, Buffer.from(row, 'latin1')), 0n);
  return { checksum: BigInt.asUintN(64, total), rows: rows.size };
}

function chunkOf(
  stream: StreamNo,
  bucket: BucketId,
  { at, ops, before }: { at: number; ops: readonly Op[]; before: Rows },
): { chunk: ChunkWrite; after: Rows } {
  const after = new Map(before);
  const payload = new ByteWriter();
  const directory = new ByteWriter();
  writeDirectoryHead(directory, ops.length, lsn(at));
  const hash = new Hash64();
  ops.forEach(({ key, text }, i) => {
    const body = new ByteWriter();
    writeCell(body, key);
    const keyBytes = body.length;
    hash.update(body.bytes, body.view, 0, keyBytes, 0);
    const name = latin1(body.written());
    if (text === undefined) after.delete(name);
    else {
      writeCell(body, text);
      after.set(name, latin1(body.written()));
    }
    appendOp(payload, text === undefined ? OP_REMOVE : OP_PUT, body.bytes, 0, body.length);
    appendDirectoryEntry(directory, {
      ...{ hashLo: hash.lo, hashHi: hash.hi, lsnDelta: 0, seq: (i + 1) * 65_536, keyBytes },
    });
  });
  const [old, now] = [sumsOf(before), sumsOf(after)];
  const chunk = {
    ...({ stream, bucket, ops: ops.length, codec: CODEC_STORED, payloadBytes: payload.length } as const),
    rowsDelta: now.rows - old.rows,
    checksumDelta: BigInt.asUintN(64, now.checksum - old.checksum),
    directory: directory.take(),
    payload: payload.take(),
  };
  return { chunk, after };
}

/** As a client does, but for ops that it has already: a chunk may reach back below where it resumes. */
function applyOps(shown: Map<BucketId, Map<string, string>>, stored: StoredChunk, after: Lsn): void {
  const { chunk, payload } = openChunk(stored);
  const rows = shown.get(chunk.bucket) ?? new Map<string, string>();
  shown.set(chunk.bucket, rows);
  const entries = readDirectory(chunk.directory);
  const reachesBack = readDirectoryBase(chunk.directory) <= after;
  let i = 0;
  forEachOp(payload, (kind, start, end) => {
    const entry = entries[i++];
    if (!entry || (reachesBack && entry.position.lsn <= after)) return;
    const key = latin1(payload.subarray(start, start + entry.keyBytes));
    if (kind === OP_PUT) rows.set(key, latin1(payload.subarray(start, end)));
    else rows.delete(key);
  });
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

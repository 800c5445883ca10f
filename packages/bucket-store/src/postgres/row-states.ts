import type { Lsn, ProjectId } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import type { FoundRowState, RowStateKind, RowStatePage, RowStateRequest, RowStateWrite } from '../row-state.ts';
import { int4Array, int8Array, int8ArrayOfNumbers } from './binary-array.ts';
import type { Database } from './database.ts';

/** The membership number that stands for a stream's own table. */
const OWN_TABLE = -1;
const KINDS: readonly RowStateKind[] = ['gone', 'row', 'partial'];
const KIND_ABSENT = 3;

interface PageRow {
  applied_lsn: string;
  applied_seq: string;
  revision: string;
  answered: number;
  states: Buffer;
}

/** One round trip, however many keys. */
export async function readRowStates(
  database: Database,
  project: ProjectId,
  request: RowStateRequest,
): Promise<RowStatePage> {
  const { epoch, shard, refs, withOrigins, bytesMax } = request;
  const at = (i: number) => refs[i] as RowStateRequest['refs'][number];
  const blob = Buffer.allocUnsafe(refs.reduce((bytes, ref) => bytes + ref.key.length, 0));
  let end = 0;
  const offsets = int4Array(refs.length, (i) => {
    const start = end;
    end += blob.write(at(i).key, start, 'latin1');
    return start + 1;
  });
  const { rows } = await database.query<PageRow>({
    name: 'sluice_read_row_states',
    text: `select applied_lsn, applied_seq, revision, answered, states
      from sluice_store.read_row_states($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    values: [
      project,
      epoch,
      shard,
      blob,
      int4Array(refs.length, (i) => at(i).stream),
      int4Array(refs.length, (i) => at(i).membership ?? OWN_TABLE),
      offsets,
      int4Array(refs.length, (i) => at(i).key.length),
      withOrigins,
      bytesMax,
    ],
  });
  const [row] = rows;
  if (!row) throw new AppError('STORE_FENCED', { internal: 'row states of a retired epoch' });
  return {
    applied: { lsn: BigInt(row.applied_lsn) as Lsn, seq: Number(row.applied_seq) },
    revision: BigInt(row.revision),
    answered: row.answered,
    states: statesFromBlob(row.states),
  };
}

/** Bytes of a state before its origin and image, as `read_row_states` packs it. */
const HEAD_BYTES = 4 + 2 + 2 + 8 + 8 + 8 + 4 + 4;

function statesFromBlob(blob: Buffer): FoundRowState[] {
  const states: FoundRowState[] = [];
  for (let at = 0; at < blob.length; ) {
    const kind = KINDS[blob.readInt16BE(at + 6)];
    if (kind === undefined) throw new InvariantError('a row state of an unknown kind');
    const originBytes = blob.readInt32BE(at + 32);
    const imageBytes = blob.readInt32BE(at + 36);
    const originStart = at + HEAD_BYTES;
    const imageStart = originStart + Math.max(originBytes, 0);
    states.push({
      ref: blob.readInt32BE(at),
      isOrigin: blob.readInt16BE(at + 4) === 1,
      kind,
      position: { lsn: blob.readBigInt64BE(at + 8) as Lsn, seq: Number(blob.readBigInt64BE(at + 16)) },
      sinceLsn: blob.readBigInt64BE(at + 24) as Lsn,
      origin: originBytes < 0 ? undefined : blob.toString('latin1', originStart, imageStart),
      image: blob.subarray(imageStart, imageStart + imageBytes),
    });
    at = imageStart + imageBytes;
  }
  return states;
}

/** The blob and arrays that `write_row_states` takes, in its parameters' order. */
export function packRowStates(writes: readonly RowStateWrite[]): unknown[] {
  const count = writes.length;
  const write = (i: number) => writes[i] as RowStateWrite;
  let bytes = 0;
  for (const { key, origin, image } of writes) bytes += key.length + (origin?.length ?? 0) + image.length;
  const blob = Buffer.allocUnsafe(bytes);
  let end = 0;
  const offsets = int4Array(count, (i) => {
    const start = end;
    const { key, origin, image } = write(i);
    end += blob.write(key, end, 'latin1');
    if (origin !== undefined) end += blob.write(origin, end, 'latin1');
    blob.set(image, end);
    end += image.length;
    return start + 1;
  });
  return [
    blob,
    int4Array(count, (i) => write(i).stream),
    int4Array(count, (i) => write(i).membership ?? OWN_TABLE),
    int4Array(count, (i) => kindNumber(write(i).kind)),
    int8Array(count, (i) => write(i).position.lsn),
    int8ArrayOfNumbers(count, (i) => write(i).position.seq),
    int8Array(count, (i) => write(i).sinceLsn),
    offsets,
    int4Array(count, (i) => write(i).key.length),
    int4Array(count, (i) => write(i).origin?.length ?? -1),
    int4Array(count, (i) => write(i).image.length),
  ];
}

function kindNumber(kind: RowStateWrite['kind']): number {
  return kind === 'absent' ? KIND_ABSENT : KINDS.indexOf(kind);
}

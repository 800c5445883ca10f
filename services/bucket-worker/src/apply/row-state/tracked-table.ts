import { createHash } from 'node:crypto';
import { ROW_STATE_KEY_MAX } from '@sluice/bucket-store';
import { ByteWriter } from '@sluice/domain';
import { TupleSlots } from '@sluice/pgoutput';
import type { BoundMembership, BoundStream, RelationLike, TupleSlotsLike } from '@sluice/sync-rules';
import type { StreamState } from '../stream-state.ts';
import { ImageLayout, imageColumns } from './image-layout.ts';

/** Where a tuple's columns stand. */
export interface ImageSource {
  readonly src: Uint8Array;
  readonly slots: TupleSlotsLike;
}

/** A table of a stream that keeps row states, bound to one version of its relation (L7). */
export class TrackedTable {
  readonly state: StreamState;
  /** Undefined for the stream's own table, else the number of the membership set. */
  readonly set: number | undefined;
  /** Tells the table from all others of the epoch. */
  readonly id: string;
  readonly bound: BoundStream | BoundMembership;
  readonly layout: ImageLayout;
  private readonly slots = { old: new TupleSlots(), fresh: new TupleSlots() };

  constructor(
    state: StreamState,
    set: number | undefined,
    bound: BoundStream | BoundMembership,
    relation: RelationLike,
  ) {
    this.state = state;
    this.set = set;
    this.id = tableId(state.stream, set);
    this.bound = bound;
    this.layout = new ImageLayout(imageColumns(state.plan, set), relation);
  }

  /** The state key of a tuple's row; needs only the row key's columns. */
  keyOf(src: Uint8Array, slots: TupleSlotsLike): string {
    if ('rowKeyOf' in this.bound) return stateKey(this.bound.rowKeyOf(src, slots));
    scratch.reset();
    this.bound.encodeKey(src, slots, scratch);
    return stateKey(scratch.bytes.subarray(0, scratch.length));
  }

  keyOfImage(image: Uint8Array): string {
    const { src, slots } = this.tuple('old', image);
    return this.keyOf(src, slots);
  }

  /** The image as a tuple, until the next one of that name. */
  tuple(name: 'old' | 'fresh', image: Uint8Array): ImageSource {
    const slots = this.slots[name];
    this.layout.unpack(image, slots);
    return { src: image, slots };
  }
}

export function tableId(stream: number, set: number | undefined): string {
  return set === undefined ? `${stream}` : `${stream}/${set}`;
}

const scratch = new ByteWriter(64);
/** Before a digest, so that no row key of as many bytes is taken for one. */
const DIGEST_MARK = '\xff';

/** Row keys as the store keeps them with states: long ones by their SHA-256. */
function stateKey(rowKey: Uint8Array): string {
  const bytes = Buffer.from(rowKey.buffer, rowKey.byteOffset, rowKey.length);
  if (rowKey.length < ROW_STATE_KEY_MAX) return bytes.toString('latin1');
  return DIGEST_MARK + createHash('sha256').update(bytes).digest().toString('latin1');
}

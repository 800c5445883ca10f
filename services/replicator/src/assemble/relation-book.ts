import type { ByteWriter } from '@sluice/domain';
import { appendRecord } from '@sluice/op-queue';
import type { RelationMessage } from '@sluice/pgoutput';

/** A table as the stream last described it. */
export interface Relation {
  readonly oid: number;
  readonly message: RelationMessage;
  /** The `R` message, as a frame repeats it. */
  readonly bytes: Uint8Array;
  /** Some stream reads the table; rows of others are counted and left out. */
  readonly isUsed: boolean;
  /** Number of the frame that describes it already. */
  frame: number;
}

/** Relations of one connection: the server describes each before its first row, and again after it changed. */
export class RelationBook {
  private readonly byOid = new Map<number, Relation>();
  /** Rows come in runs of one table, so that the last one is asked for most. */
  private last: Relation | undefined;

  get(oid: number): Relation | undefined {
    if (this.last?.oid !== oid) this.last = this.byOid.get(oid);
    return this.last;
  }

  set(message: RelationMessage, source: Uint8Array, start: number, end: number, isUsed: boolean): void {
    // A copy: a Buffer's own slice would be a view of bytes that the socket reuses.
    const bytes = Uint8Array.from(source.subarray(start, end));
    this.byOid.set(message.oid, { oid: message.oid, message, bytes, isUsed, frame: -1 });
    this.last = undefined;
  }

  /** The relation was described before in these very bytes. */
  isRepeated(oid: number, source: Uint8Array, start: number, end: number): boolean {
    const known = this.byOid.get(oid);
    return known !== undefined && Buffer.compare(known.bytes, source.subarray(start, end)) === 0;
  }

  /** Streams were added or dropped. */
  setUsed(isUsed: (message: RelationMessage) => boolean): void {
    for (const [oid, relation] of this.byOid) this.byOid.set(oid, { ...relation, isUsed: isUsed(relation.message) });
    this.last = undefined;
  }

  /** Makes the frame that is being written describe the relation, once. */
  describe(relation: Relation, frame: number, out: ByteWriter): void {
    if (relation.frame === frame) return;
    relation.frame = frame;
    appendRecord(out, relation.bytes);
  }
}

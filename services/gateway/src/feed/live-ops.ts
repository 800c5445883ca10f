import { ByteReader, ByteWriter, type Lsn, MalformedBytesError } from '@sluice/domain';
import { forEachDirectoryEntry, forEachOp, OP_PUT, readDirectory, readDirectoryBase } from '@sluice/protocol';

/** Rows of one bucket in one reduction. Past it, the typed arrays below would overflow their 32-bit numbers. */
const OPS_MAX = 2 ** 28;
const EMPTY = 0xffffffff;
const BODY_FIELDS = 3;
const NO_BYTES: Uint8Array = new Uint8Array(0);

/**
 * Finds, over the chunks of a bucket in their order, which ops are the newest of their row and put it (L13: nothing
 * older is sent). Ops are numbered in the order they are offered. Keys are told apart by hash first and then by their
 * bytes, because the hash resists no adversary. About 40 bytes a row while it is being built, one bit an op afterwards.
 * The rows can be looked at in parts, one after the other, each over the same ops: then memory is that of one part.
 */
export class LiveOps {
  private slots = new Uint32Array(1024).fill(EMPTY);
  private rows = 0;
  private hashLo = new Uint32Array(512);
  private hashHi = new Uint32Array(512);
  private keyStart = new Uint32Array(512);
  private newestOp = new Uint32Array(512);
  private readonly keys = new ByteWriter(8192);
  private ops = 0;
  private live = new Uint8Array(256);
  /** Kind, start and end of each op of the chunk that is offered. */
  private bodies = new Uint32Array(1024 * BODY_FIELDS);
  /** Of the op that is offered. */
  private readonly key = { bytes: NO_BYTES, start: 0, end: 0 };
  private part = 0;
  private parts = 1;
  private readonly rowsMax: number;
  private readonly stretchAfter: Lsn | undefined;
  /** Ops that are live, over everything that was offered. */
  liveOps = 0;

  /**
   * @param rowsMax of one part; `isOverfull` says when there were more
   * @param stretchAfter of a stretch of changes: removes count as well, and ops at or below this do not
   */
  constructor(rowsMax = Number.POSITIVE_INFINITY, stretchAfter?: Lsn) {
    this.rowsMax = rowsMax;
    this.stretchAfter = stretchAfter;
  }

  /** From here on the same ops are offered from the first on, and only rows of this part are looked at. */
  beginPart(part: number, parts: number): void {
    this.part = part;
    this.parts = parts;
    this.ops = 0;
    this.rows = 0;
    this.keys.reset();
    this.slots.fill(EMPTY);
  }
  get isOverfull(): boolean {
    return this.rows > this.rowsMax;
  }

  /** @throws MalformedBytesError when directory and payload do not fit each other */
  offer(directory: Uint8Array, payload: Uint8Array): number {
    const count = this.readBodies(payload);
    const { bodies, key } = this;
    const isBefore = this.opsBefore(directory);
    key.bytes = payload;
    const listed = forEachDirectoryEntry(directory, (hashLo, hashHi, keyBytes, index) => {
      const start = bodies[index * BODY_FIELDS + 1] as number;
      const end = start + keyBytes;
      if (index >= count || end > (bodies[index * BODY_FIELDS + 2] as number)) throw misfit();
      key.start = start;
      key.end = end;
      if (isBefore?.(index)) this.numberOp();
      else this.offerOp(bodies[index * BODY_FIELDS] === OP_PUT, hashLo, hashHi);
    });
    if (listed !== count) throw misfit();
    return count;
  }

  /** Which ops of a chunk are no part of the stretch; undefined when all are: only compaction joins older ones with newer ones. */
  private opsBefore(directory: Uint8Array): ((index: number) => boolean) | undefined {
    const after = this.stretchAfter;
    if (after === undefined || readDirectoryBase(directory) > after) return undefined;
    const entries = readDirectory(directory);
    return (index) => (entries[index]?.position.lsn ?? 0n) <= after;
  }

  private readBodies(payload: Uint8Array): number {
    let at = 0;
    return forEachOp(payload, (kind, start, end) => {
      if (at + BODY_FIELDS > this.bodies.length) this.bodies = grown(this.bodies);
      const { bodies } = this;
      bodies[at++] = kind;
      bodies[at++] = start;
      bodies[at++] = end;
    });
  }

  /** Whether the op of this number is the newest of its row, and a put; in a stretch of changes, or a remove. */
  isLive(op: number): boolean {
    return ((this.live[op >> 3] ?? 0) & (1 << (op & 7))) !== 0;
  }

  /** Frees everything that `isLive` does not need. */
  finish(): void {
    this.slots = new Uint32Array(0);
    this.hashLo = this.hashHi = this.keyStart = this.newestOp = this.slots;
    this.bodies = this.slots;
    this.keys.bytes = new Uint8Array(0);
    this.key.bytes = NO_BYTES;
  }
  get bytes(): number {
    return this.live.length;
  }

  private offerOp(isPut: boolean, hashLo: number, hashHi: number): void {
    const op = this.numberOp();
    if (this.parts > 1 && hashHi % this.parts !== this.part) return;
    const row = this.rowOf(hashLo, hashHi);
    const older = this.newestOp[row] as number;
    if (older !== EMPTY) this.setLive(older, false);
    this.newestOp[row] = op;
    if (isPut || this.stretchAfter !== undefined) this.setLive(op, true);
  }

  private numberOp(): number {
    const op = this.ops++;
    if (op >= OPS_MAX) throw new MalformedBytesError('too many ops in one bucket');
    if (op >> 3 >= this.live.length) this.live = grown(this.live);
    return op;
  }

  private rowOf(hashLo: number, hashHi: number): number {
    const mask = this.slots.length - 1;
    let slot = hashLo & mask;
    for (;;) {
      const row = this.slots[slot] as number;
      if (row === EMPTY) return this.addRow(slot, hashLo, hashHi);
      if (this.hashLo[row] === hashLo && this.hashHi[row] === hashHi && this.isKey(row)) return row;
      slot = (slot + 1) & mask;
    }
  }

  private isKey(row: number): boolean {
    const { bytes, start, end } = this.key;
    const known = new ByteReader(this.keys.bytes, this.keyStart[row], this.keys.length);
    if (known.varint() !== end - start) return false;
    for (let i = start, at = known.at; i < end; i++, at++) if (known.bytes[at] !== bytes[i]) return false;
    return true;
  }

  private addRow(slot: number, hashLo: number, hashHi: number): number {
    const row = this.rows++;
    if (row === this.hashLo.length) {
      this.hashLo = grown(this.hashLo);
      this.hashHi = grown(this.hashHi);
      this.keyStart = grown(this.keyStart);
      this.newestOp = grown(this.newestOp);
    }
    this.slots[slot] = row;
    this.hashLo[row] = hashLo;
    this.hashHi[row] = hashHi;
    this.keyStart[row] = this.keys.length;
    this.keys.varint(this.key.end - this.key.start);
    this.keys.raw(this.key.bytes, this.key.start, this.key.end);
    this.newestOp[row] = EMPTY;
    if (this.rows * 2 > this.slots.length) this.rehash();
    return row;
  }

  private rehash(): void {
    this.slots = new Uint32Array(this.slots.length * 2).fill(EMPTY);
    const mask = this.slots.length - 1;
    for (let row = 0; row < this.rows; row++) {
      let slot = (this.hashLo[row] as number) & mask;
      while (this.slots[slot] !== EMPTY) slot = (slot + 1) & mask;
      this.slots[slot] = row;
    }
  }

  private setLive(op: number, isLive: boolean): void {
    const byte = this.live[op >> 3] as number;
    const bit = 1 << (op & 7);
    const was = (byte & bit) !== 0;
    if (was === isLive) return;
    this.live[op >> 3] = isLive ? byte | bit : byte & ~bit;
    this.liveOps += isLive ? 1 : -1;
  }
}

function misfit(): MalformedBytesError {
  return new MalformedBytesError('directory does not fit the payload');
}

function grown<T extends Uint8Array | Uint32Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}

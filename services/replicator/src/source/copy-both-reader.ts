import { AppError } from '@sluice/errors';

const COPY_DATA = 0x64; // d
/** Type byte and Int32 length, which counts itself. */
const HEADER_BYTES = 5;
/** Errors and notices; a server that sends more than this is not one. */
const otherBytesMax = 1 << 20;
const carryBytes = 64 * 1024;
const keptCarryBytesMax = 1 << 20;

/** Takes the messages of a connection in copy-both mode. Bytes are only valid during the call. */
export interface CopyBothSink {
  /** A CopyData payload, `source[start, end)`; `view` covers the same bytes as `source`. */
  copyData(source: Uint8Array, view: DataView, start: number, end: number): void;
  /** A CopyData payload longer than the bound begins: its pieces follow, then its end. */
  largeBegin(payloadBytes: number): void;
  largePart(source: Uint8Array, start: number, end: number): void;
  largeEnd(): void;
  /** Any other message, whole, with its header. */
  other(message: Buffer): void;
}

/**
 * Cuts a socket's chunks into protocol messages (PostgreSQL manual, "Message Formats") without copying those that lie
 * within one chunk, and without ever buffering more than `payloadBytesMax` bytes, whatever length a message claims.
 */
export class CopyBothReader {
  private readonly payloadBytesMax: number;
  private readonly sink: CopyBothSink;
  /** A message that began in an earlier chunk. */
  private carry = Buffer.alloc(carryBytes);
  private carryLength = 0;
  /** Bytes of a large payload that are still to come. */
  private largeLeft = 0;

  constructor(payloadBytesMax: number, sink: CopyBothSink) {
    this.payloadBytesMax = payloadBytesMax;
    this.sink = sink;
  }

  /** @throws AppError SOURCE_PROTOCOL, and whatever the sink throws; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    const end = chunk.length;
    let at = 0;
    if (this.largeLeft > 0) at = this.passLarge(chunk, 0);
    if (this.carryLength > 0) at = this.completeCarry(chunk, at);
    if (at < end) this.readWhole(chunk, at);
  }

  private readWhole(chunk: Buffer, at: number): void {
    const end = chunk.length;
    const view = new DataView(chunk.buffer, chunk.byteOffset, end);
    while (end - at >= HEADER_BYTES) {
      const type = chunk[at] as number;
      const total = this.totalBytes(type, view.getInt32(at + 1));
      if (this.isLarge(type, total)) {
        this.beginLarge(total);
        at = this.passLarge(chunk, at + HEADER_BYTES);
        continue;
      }
      if (end - at < total) break;
      if (type === COPY_DATA) this.sink.copyData(chunk, view, at + HEADER_BYTES, at + total);
      else this.sink.other(chunk.subarray(at, at + total));
      at += total;
    }
    if (at < end) this.keep(chunk, at, end);
  }

  /** Goes on with the message in `carry`; returns where the next one begins in the chunk. */
  private completeCarry(chunk: Buffer, at: number): number {
    at = this.fillCarry(chunk, at, HEADER_BYTES);
    if (this.carryLength < HEADER_BYTES) return at;
    const type = this.carry[0] as number;
    const total = this.totalBytes(type, this.carry.readInt32BE(1));
    if (this.isLarge(type, total)) {
      const kept = this.carryLength;
      this.carryLength = 0;
      this.beginLarge(total);
      if (kept > HEADER_BYTES) this.largePart(this.carry, HEADER_BYTES, kept);
      return this.passLarge(chunk, at);
    }
    at = this.fillCarry(chunk, at, total);
    if (this.carryLength < total) return at;
    this.carryLength = 0;
    if (type === COPY_DATA) {
      const view = new DataView(this.carry.buffer, this.carry.byteOffset, total);
      this.sink.copyData(this.carry, view, HEADER_BYTES, total);
    } else this.sink.other(Buffer.from(this.carry.subarray(0, total)));
    // One large message must not cost its memory for as long as the connection lasts.
    if (this.carry.length > keptCarryBytesMax) this.carry = Buffer.alloc(carryBytes);
    return at;
  }

  private fillCarry(chunk: Buffer, at: number, upTo: number): number {
    const count = Math.min(upTo - this.carryLength, chunk.length - at);
    if (count > 0) this.keep(chunk, at, at + count);
    return count > 0 ? at + count : at;
  }

  private keep(chunk: Buffer, start: number, end: number): void {
    const need = this.carryLength + end - start;
    if (need > this.carry.length) {
      const grown = Buffer.alloc(Math.max(need, this.carry.length * 2));
      this.carry.copy(grown, 0, 0, this.carryLength);
      this.carry = grown;
    }
    chunk.copy(this.carry, this.carryLength, start, end);
    this.carryLength = need;
  }

  private totalBytes(type: number, length: number): number {
    if (length < 4) throw new AppError('SOURCE_PROTOCOL', { internal: `message of length ${length}` });
    if (type !== COPY_DATA && length > otherBytesMax)
      throw new AppError('SOURCE_PROTOCOL', { internal: `message of kind ${type} and length ${length}` });
    return length + 1;
  }

  private isLarge(type: number, total: number): boolean {
    return type === COPY_DATA && total - HEADER_BYTES > this.payloadBytesMax;
  }

  private beginLarge(total: number): void {
    this.largeLeft = total - HEADER_BYTES;
    this.sink.largeBegin(this.largeLeft);
  }

  private passLarge(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.largeLeft);
    if (end > at) this.largePart(chunk, at, end);
    return end;
  }

  private largePart(source: Uint8Array, start: number, end: number): void {
    this.sink.largePart(source, start, end);
    this.largeLeft -= end - start;
    if (this.largeLeft === 0) this.sink.largeEnd();
  }
}

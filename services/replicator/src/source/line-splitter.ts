import { AppError } from '@sluice/errors';

const NEWLINE = 0x0a;

/** Takes lines, without their newline; the bytes are only valid during the call. */
export interface LineSink {
  line(source: Uint8Array, start: number, end: number): void;
  /** A line longer than the bound went by; none of it was kept. */
  oversizedLine(): void;
}

/** Cuts what a COPY in text format sends into lines, holding at most one line of `lineBytesMax` bytes. */
export class LineSplitter {
  private readonly lineBytesMax: number;
  private readonly sink: LineSink;
  private carry = Buffer.alloc(0);
  private carryLength = 0;
  private isSkipping = false;

  constructor(lineBytesMax: number, sink: LineSink) {
    this.lineBytesMax = lineBytesMax;
    this.sink = sink;
  }

  /** The next bytes of the copy, `source[start, end)`. */
  push(source: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const newline = source.indexOf(NEWLINE, at);
      if (newline < 0 || newline >= end) break;
      this.endLine(source, at, newline);
      at = newline + 1;
    }
    if (at < end) this.keep(source, at, end);
  }

  /** @throws AppError SOURCE_PROTOCOL when the last line has no end. */
  finish(): void {
    if (this.carryLength > 0 || this.isSkipping)
      throw new AppError('SOURCE_PROTOCOL', { internal: 'COPY ended within a line' });
  }

  private endLine(source: Uint8Array, start: number, end: number): void {
    if (this.isSkipping) {
      this.isSkipping = false;
      this.sink.oversizedLine();
    } else if (this.carryLength === 0) {
      this.sink.line(source, start, end);
    } else {
      this.keep(source, start, end);
      if (this.isSkipping) {
        this.isSkipping = false;
        this.sink.oversizedLine();
        return;
      }
      const { carryLength } = this;
      this.carryLength = 0;
      this.sink.line(this.carry, 0, carryLength);
    }
  }

  private keep(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (count === 0 || this.isSkipping) return;
    if (this.carryLength + count > this.lineBytesMax) {
      this.isSkipping = true;
      this.carryLength = 0;
      return;
    }
    if (this.carry.length < this.carryLength + count) {
      const grown = Buffer.alloc(Math.max(4096, (this.carryLength + count) * 2));
      this.carry.copy(grown, 0, 0, this.carryLength);
      this.carry = grown;
    }
    this.carry.set(source.subarray(start, end), this.carryLength);
    this.carryLength += count;
  }
}

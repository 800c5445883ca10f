import { AppError } from '@sluice/errors';

const NEWLINE = 0x0a;

/** Takes lines, without their newline; the bytes are only valid during the call. */
export interface LineSink {
  line(source: Uint8Array, start: number, end: number): void;
  /** A line longer than the bound went by; none of it was kept. */
  oversizedLine(): void;
}

/** Cuts the chunks of a COPY in text format into lines, holding at most one line of `lineBytesMax` bytes. */
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

  push(chunk: Buffer): void {
    let at = 0;
    for (;;) {
      const newline = chunk.indexOf(NEWLINE, at);
      if (newline < 0) break;
      this.endLine(chunk, at, newline);
      at = newline + 1;
    }
    this.keep(chunk, at);
  }

  /** @throws AppError SOURCE_PROTOCOL when the last line has no end. */
  finish(): void {
    if (this.carryLength > 0 || this.isSkipping)
      throw new AppError('SOURCE_PROTOCOL', { internal: 'COPY ended within a line' });
  }

  private endLine(chunk: Buffer, start: number, end: number): void {
    if (this.isSkipping) {
      this.isSkipping = false;
      this.sink.oversizedLine();
    } else if (this.carryLength === 0) {
      this.sink.line(chunk, start, end);
    } else {
      this.keep(chunk.subarray(0, end), start);
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

  private keep(chunk: Buffer, start: number): void {
    const count = chunk.length - start;
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
    chunk.copy(this.carry, this.carryLength, start);
    this.carryLength += count;
  }
}

import { type Lsn, lsnFromBigint } from '@sluice/domain';
import { protocolError } from './protocol-error.ts';

// Postgres names are bytes of the client encoding (pinned to UTF-8); a leading U+FEFF is part of a name.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads one message's fields in order, big endian, never past `end`. For the rare messages; rows are read in place. */
export class Cursor {
  private readonly src: Uint8Array;
  private readonly view: DataView;
  private readonly end: number;
  private at: number;

  constructor(src: Uint8Array, view: DataView, at: number, end: number) {
    this.src = src;
    this.view = view;
    this.at = at;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.at;
  }
  u8(): number {
    return this.src[this.take(1)] as number;
  }
  i16(): number {
    return this.view.getInt16(this.take(2));
  }
  i32(): number {
    return this.view.getInt32(this.take(4));
  }
  u32(): number {
    return this.view.getUint32(this.take(4));
  }
  i64(): bigint {
    return this.view.getBigInt64(this.take(8));
  }
  lsn(): Lsn {
    const at = this.take(8);
    const value = this.view.getBigInt64(at);
    if (value < 0n) throw protocolError('LSN out of range', at);
    return lsnFromBigint(value);
  }
  /** Bytes up to a zero byte, as UTF-8. */
  text(): string {
    const rest = this.src.subarray(this.at, this.end);
    const length = rest.indexOf(0);
    if (length < 0) throw protocolError('text without its end', this.at);
    try {
      const text = utf8.decode(rest.subarray(0, length));
      this.at += length + 1;
      return text;
    } catch {
      throw protocolError('text that is not UTF-8', this.at);
    }
  }
  /** A copy: the source's buffer is reused after the handler returns. */
  copy(count: number): Uint8Array<ArrayBuffer> {
    const at = this.take(count);
    return Uint8Array.from(this.src.subarray(at, at + count));
  }
  /** A flag byte that is 0 or 1. */
  flag(): boolean {
    const at = this.at;
    const byte = this.u8();
    if (byte > 1) throw protocolError('flag that is neither 0 nor 1', at);
    return byte === 1;
  }
  fail(problem: string): never {
    throw protocolError(problem, this.at);
  }
  finish(): void {
    if (this.at !== this.end) throw protocolError('bytes after the message', this.at);
  }

  private take(count: number): number {
    const from = this.at;
    if (count < 0 || count > this.end - from) throw protocolError('message ends early', from);
    this.at = from + count;
    return from;
  }
}

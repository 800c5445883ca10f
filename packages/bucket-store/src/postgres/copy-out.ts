import { InvariantError } from '@sluice/errors';
import { type ClientBase, Query } from 'pg';

/** What `CopyOut` hears from the connection (pg lib/client.js, `_handleCopyData`); its types leave it out. */
interface CopyData {
  readonly chunk: Buffer;
}

/**
 * `COPY ... TO STDOUT`, kept as bytes. The driver takes every column of a plain query for UTF-8 text, so that bytes would
 * travel as hex digits, twice as many, and be parsed; what is copied it hands over untouched.
 */
class CopyOut extends Query {
  readonly pieces: Buffer[] = [];

  /** Called for each message; its bytes stand in a buffer that the driver uses again. */
  handleCopyData({ chunk }: CopyData): void {
    this.pieces.push(Buffer.from(chunk));
  }
}

/** Runs a COPY in one round trip and gives its messages. @throws what the driver throws */
export function copyOut(client: ClientBase, text: string): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const copy = new CopyOut(text, (error) => (error ? reject(error) : resolve(copy.pieces)));
    client.query(copy);
  });
}

/** PGCOPY, a newline, 0xff, a carriage return, a newline, 0. */
const SIGNATURE = Buffer.from('5047434f50590aff0d0a00', 'hex');
const FLAGS_BYTES = 4;
const NO_MORE_ROWS = -1;

/**
 * Rows as `COPY (FORMAT binary)` writes them (Postgres manual, COPY, file formats); columns are asked for in order. A server
 * sends a message for each row, the first one behind the head (the same, message flow), so that no row is put together here.
 */
export class CopiedRows {
  private readonly pieces: readonly Buffer[];
  private readonly columns: number;
  private piece = 0;
  private bytes: Buffer;
  private at: number;

  /** @throws InvariantError, as every method does, for bytes that are no such copy */
  constructor(pieces: readonly Buffer[], columns: number) {
    this.pieces = pieces;
    this.columns = columns;
    this.bytes = pieces[0] ?? Buffer.alloc(0);
    if (!SIGNATURE.equals(this.bytes.subarray(0, SIGNATURE.length))) throw malformed();
    const extension = SIGNATURE.length + FLAGS_BYTES;
    this.at = extension + 4 + this.lengthAt(extension);
  }

  /** Whether there is one more row; its columns are read before the next one. */
  next(): boolean {
    while (this.at === this.bytes.length) this.nextPiece();
    this.need(2);
    const columns = this.bytes.readInt16BE(this.at);
    this.at += 2;
    if (columns === NO_MORE_ROWS) return false;
    if (columns !== this.columns) throw malformed();
    return true;
  }
  private nextPiece(): void {
    const piece = this.pieces[++this.piece];
    if (!piece) throw malformed();
    this.bytes = piece;
    this.at = 0;
  }

  int2(): number {
    return this.bytes.readInt16BE(this.field(2));
  }
  int4(): number {
    return this.bytes.readInt32BE(this.field(4));
  }
  int8(): bigint {
    return this.bytes.readBigInt64BE(this.field(8));
  }
  /** A view. */
  blob(): Buffer {
    const length = this.lengthAt(this.at);
    const start = this.at + 4;
    this.at = start;
    this.need(length);
    this.at += length;
    return this.bytes.subarray(start, this.at);
  }

  /** Moves past a column of this many bytes and gives where it stands. */
  private field(bytes: number): number {
    if (this.lengthAt(this.at) !== bytes) throw malformed();
    const start = this.at + 4;
    this.at = start;
    this.need(bytes);
    this.at += bytes;
    return start;
  }
  /** A length that a null does not have. */
  private lengthAt(at: number): number {
    if (at + 4 > this.bytes.length) throw malformed();
    const length = this.bytes.readInt32BE(at);
    if (length < 0) throw malformed();
    return length;
  }
  private need(bytes: number): void {
    if (this.at + bytes > this.bytes.length) throw malformed();
  }
}

function malformed(): InvariantError {
  return new InvariantError('a copy of the bucket store is malformed');
}

/** As SQL: digits alone, whatever it is given. @throws RangeError, SyntaxError for anything but a whole number */
export function intSql(value: number | bigint): string {
  return `(${BigInt(value)})`;
}
/** An `int[]`. */
export function intsSql(values: readonly number[]): string {
  return `'{${values.map((value) => BigInt(value)).join()}}'::int[]`;
}
/** A `bytea` of hexadecimal digits, which come out as digits whatever was given. */
export function hexSql(hex: string): string {
  return `decode('${digitsOf(hex)}', 'hex')`;
}
/** A `bytea[]` of hexadecimal digits. */
export function hexesSql(hexes: readonly string[]): string {
  return `E'{${hexes.map((hex) => `"\\\\\\\\x${digitsOf(hex)}"`).join()}}'::bytea[]`;
}
function digitsOf(hex: string): string {
  return Buffer.from(hex, 'hex').toString('hex');
}

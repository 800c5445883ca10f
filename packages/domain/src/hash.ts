/**
 * MurmurHash3 x86_128 (Austin Appleby, public domain: github.com/aappleby/smhasher, MurmurHash3.cpp), first 64 of its
 * 128 bits, as two unsigned 32-bit halves. Chosen because it needs only 32-bit multiplications, which both V8 and
 * the browsers do fast; it is not collision resistant against an adversary and is never used for identity.
 */
export class Hash64 {
  /** Low and high 32 bits of the last result, unsigned. */
  lo = 0;
  hi = 0;

  /** Hashes `bytes[start, end)` with a 32-bit seed into `lo` and `hi`. */
  update(bytes: Uint8Array, view: DataView, start: number, end: number, seed: number): void {
    let h1 = seed | 0;
    let h2 = seed | 0;
    let h3 = seed | 0;
    let h4 = seed | 0;
    const length = end - start;
    let at = start;
    for (const stop = start + (length & ~15); at < stop; at += 16) {
      let k1 = view.getInt32(at, true);
      let k2 = view.getInt32(at + 4, true);
      let k3 = view.getInt32(at + 8, true);
      let k4 = view.getInt32(at + 12, true);
      k1 = Math.imul(k1, C1);
      k1 = Math.imul((k1 << 15) | (k1 >>> 17), C2);
      h1 ^= k1;
      h1 = ((h1 << 19) | (h1 >>> 13)) + h2;
      h1 = (Math.imul(h1, 5) + 0x561ccd1b) | 0;
      k2 = Math.imul(k2, C2);
      k2 = Math.imul((k2 << 16) | (k2 >>> 16), C3);
      h2 ^= k2;
      h2 = ((h2 << 17) | (h2 >>> 15)) + h3;
      h2 = (Math.imul(h2, 5) + 0x0bcaa747) | 0;
      k3 = Math.imul(k3, C3);
      k3 = Math.imul((k3 << 17) | (k3 >>> 15), C4);
      h3 ^= k3;
      h3 = ((h3 << 15) | (h3 >>> 17)) + h4;
      h3 = (Math.imul(h3, 5) + 0x96cd1c35) | 0;
      k4 = Math.imul(k4, C4);
      k4 = Math.imul((k4 << 18) | (k4 >>> 14), C1);
      h4 ^= k4;
      h4 = ((h4 << 13) | (h4 >>> 19)) + h1;
      h4 = (Math.imul(h4, 5) + 0x32ac3b17) | 0;
    }
    const tail = length & 15;
    let k1 = 0;
    let k2 = 0;
    let k3 = 0;
    let k4 = 0;
    for (let i = tail - 1; i >= 0; i--) {
      const byte = bytes[at + i] as number;
      if (i >= 12) k4 = (k4 << 8) | byte;
      else if (i >= 8) k3 = (k3 << 8) | byte;
      else if (i >= 4) k2 = (k2 << 8) | byte;
      else k1 = (k1 << 8) | byte;
    }
    if (tail > 12) {
      k4 = Math.imul(k4, C4);
      h4 ^= Math.imul((k4 << 18) | (k4 >>> 14), C1);
    }
    if (tail > 8) {
      k3 = Math.imul(k3, C3);
      h3 ^= Math.imul((k3 << 17) | (k3 >>> 15), C4);
    }
    if (tail > 4) {
      k2 = Math.imul(k2, C2);
      h2 ^= Math.imul((k2 << 16) | (k2 >>> 16), C3);
    }
    if (tail > 0) {
      k1 = Math.imul(k1, C1);
      h1 ^= Math.imul((k1 << 15) | (k1 >>> 17), C2);
    }
    h1 ^= length;
    h2 ^= length;
    h3 ^= length;
    h4 ^= length;
    h1 = (h1 + h2 + h3 + h4) | 0;
    h2 = (h2 + h1) | 0;
    h3 = (h3 + h1) | 0;
    h4 = (h4 + h1) | 0;
    h1 = mix(h1);
    h2 = mix(h2);
    h3 = mix(h3);
    h4 = mix(h4);
    h1 = (h1 + h2 + h3 + h4) | 0;
    h2 = (h2 + h1) | 0;
    this.lo = h1 >>> 0;
    this.hi = h2 >>> 0;
  }
}

const C1 = 0x239b961b;
const C2 = 0xab0e9789 | 0;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93 | 0;

function mix(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const scratch = new Hash64();

/** The seed that separates the rows of one client table from equal bytes of another. */
export function tableSeed(clientTable: string): number {
  const bytes = new TextEncoder().encode(clientTable);
  scratch.update(bytes, new DataView(bytes.buffer), 0, bytes.length, 0);
  return scratch.lo;
}

/** hash(table, row key, encoded row) of L9 as an unsigned 64-bit bigint; the row's bytes begin with its key. */
export function rowHash(seed: number, row: Uint8Array): bigint {
  scratch.update(row, new DataView(row.buffer, row.byteOffset, row.byteLength), 0, row.length, seed);
  return (BigInt(scratch.hi) << 32n) | BigInt(scratch.lo);
}

/** A sum mod 2^64, kept in 32-bit halves so that hot loops make no bigints (L9). */
export class Checksum {
  lo = 0;
  hi = 0;

  add(lo: number, hi: number): void {
    const sum = this.lo + lo;
    this.lo = sum >>> 0;
    this.hi = (this.hi + hi + (sum > 0xffffffff ? 1 : 0)) >>> 0;
  }
  subtract(lo: number, hi: number): void {
    const difference = this.lo - lo;
    this.lo = difference >>> 0;
    this.hi = (this.hi - hi - (difference < 0 ? 1 : 0)) >>> 0;
  }
  reset(): void {
    this.lo = 0;
    this.hi = 0;
  }
  /** Unsigned. */
  toBigint(): bigint {
    return (BigInt(this.hi) << 32n) | BigInt(this.lo);
  }
}

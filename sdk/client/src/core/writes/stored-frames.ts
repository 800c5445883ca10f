import type { ResultFrame } from '../query/frame.ts';

/** The lengths of one frame's parts; the parts follow each other behind the head. */
interface FrameHead {
  readonly columns: readonly string[];
  readonly rows: number;
  /** Bytes of cells, tags and texts. */
  readonly lengths: readonly [number, number, number];
}
const HEAD_LENGTH_BYTES = 4;

/** Frames as one blob: the length of the head (u32, little endian), the head as JSON, then the parts of each frame. */
export function encodeFrames(frames: readonly ResultFrame[]): Uint8Array {
  const parts = frames.flatMap(({ cells, tags, bytes }) => [new Uint8Array(cells.buffer), tags, bytes]);
  const heads: FrameHead[] = frames.map(({ columns, rows, cells, tags, bytes }) => ({
    columns,
    rows,
    lengths: [cells.byteLength, tags.length, bytes.length],
  }));
  const head = new TextEncoder().encode(JSON.stringify(heads));
  const out = new Uint8Array(parts.reduce((total, part) => total + part.length, HEAD_LENGTH_BYTES + head.length));
  new DataView(out.buffer).setUint32(0, head.length, true);
  out.set(head, HEAD_LENGTH_BYTES);
  let at = HEAD_LENGTH_BYTES + head.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The reverse of `encodeFrames`, whose bytes it trusts. */
export function decodeFrames(stored: Uint8Array): ResultFrame[] {
  const headLength = new DataView(stored.buffer, stored.byteOffset).getUint32(0, true);
  let at = HEAD_LENGTH_BYTES + headLength;
  const take = (length: number): Uint8Array<ArrayBuffer> => {
    at += length;
    return stored.slice(at - length, at) as Uint8Array<ArrayBuffer>;
  };
  const head = new TextDecoder().decode(stored.subarray(HEAD_LENGTH_BYTES, at));
  return (JSON.parse(head) as FrameHead[]).map(({ columns, rows, lengths: [cells, tags, bytes] }) => ({
    columns,
    rows,
    cells: new Float64Array(take(cells).buffer),
    tags: take(tags),
    bytes: take(bytes),
  }));
}

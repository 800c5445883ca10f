import { promisify } from 'node:util';
import { deflateRaw, inflateRawSync } from 'node:zlib';
import { InvariantError } from '@sluice/errors';
import type { StoredChunk } from '../port.ts';

/**
 * A pack's body: per chunk its directory and its payload, one after the other, ascending by bucket. Which chunk stands where is
 * told outside it (0014_deflated_packs.sql).
 */
export const PACK_FORMAT = { stored: 0, deflateRaw: 1 } as const;

/** Chunks of one pack at most: what sums need of them stays in the pack's row. */
const PACK_CHUNKS_MAX = 64;
/** A pack is closed before the first chunk beyond it, unless it would be empty. Bytes, before they are deflated. */
const PACK_BYTES_MAX = 32 * 1024;
/** No body is larger: a chunk that is packed is small. */
const BODY_BYTES_MAX = 1 << 20;

/** A chunk of a pack, and where it stands in the body; `start` counts from 0. */
export interface PackedChunk {
  readonly chunk: StoredChunk;
  readonly start: number;
}
/** A pack as it is stored. */
export interface Pack {
  readonly chunks: readonly PackedChunk[];
  /** Deflated. */
  readonly body: Buffer;
}

const deflate = promisify(deflateRaw);

/**
 * Packs of these chunks, which are of one bucket each: about equally full, so that none is left with a few of them.
 */
export function packsOf(chunks: readonly StoredChunk[]): Promise<Pack[]> {
  const ascending = [...chunks].sort((a, b) => (a.bucket < b.bucket ? -1 : 1));
  return Promise.all(cutEvenly(ascending).map(packOf));
}

function cutEvenly(chunks: readonly StoredChunk[]): StoredChunk[][] {
  const bytes = chunks.reduce((sum, chunk) => sum + bytesOf(chunk), 0);
  const packs = Math.max(Math.ceil(chunks.length / PACK_CHUNKS_MAX), Math.ceil(bytes / PACK_BYTES_MAX));
  const chunksPerPack = Math.ceil(chunks.length / packs);
  const cut: StoredChunk[][] = [];
  let filled = 0;
  for (const chunk of chunks) {
    const present = cut.at(-1);
    if (!present || present.length === chunksPerPack || filled + bytesOf(chunk) > PACK_BYTES_MAX) {
      cut.push([chunk]);
      filled = bytesOf(chunk);
    } else {
      present.push(chunk);
      filled += bytesOf(chunk);
    }
  }
  return cut;
}

async function packOf(chunks: readonly StoredChunk[]): Promise<Pack> {
  let start = 0;
  const placed: PackedChunk[] = [];
  for (const chunk of chunks) {
    placed.push({ chunk, start });
    start += bytesOf(chunk);
  }
  // Off the event loop: this is background work beside live traffic.
  const body = await deflate(Buffer.concat(chunks.flatMap(({ directory, payload }) => [directory, payload])));
  return { chunks: placed, body };
}

/** The body as it was before it was deflated. @throws InvariantError for bytes that no store wrote */
export function openBody(format: number, body: Buffer): Buffer {
  if (format === PACK_FORMAT.stored) return body;
  if (format !== PACK_FORMAT.deflateRaw) throw new InvariantError(`a pack has the unknown format ${format}`);
  try {
    return inflateRawSync(body, { maxOutputLength: BODY_BYTES_MAX });
  } catch (error) {
    const broken = new InvariantError('a pack cannot be inflated');
    broken.cause = error;
    throw broken;
  }
}

/** A chunk's place in an open body; `start` counts from 0. */
export interface Slice {
  readonly start: number;
  readonly directoryBytes: number;
  readonly storedBytes: number;
}

/** Copies, since a view of one chunk would keep the whole body in memory. @throws InvariantError when it lies outside */
export function contentOf(open: Buffer, { start, directoryBytes, storedBytes }: Slice) {
  const payloadStart = start + directoryBytes;
  const end = payloadStart + storedBytes;
  if (end > open.length) throw new InvariantError('a chunk ends outside its pack');
  return {
    directory: Buffer.from(open.subarray(start, payloadStart)),
    payload: Buffer.from(open.subarray(payloadStart, end)),
  };
}

function bytesOf({ directory, payload }: StoredChunk): number {
  return directory.length + payload.length;
}

import type { ChunkCodec, ServerMessage } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';

export type CheckpointHead = Extract<ServerMessage, { type: 'checkpoint' }>;
export type ChunkMessage = Extract<ServerMessage, { type: 'chunk' }>;

export interface PendingChunk {
  readonly no: number;
  readonly codec: ChunkCodec;
  readonly ops: number;
  readonly payloadBytes: number;
  /** As it came, or its id in the stage. */
  readonly payload: Uint8Array | { readonly stageId: number };
}

/** Compressed bytes of a checkpoint that are kept in memory; what comes beyond is staged in the database. */
export const BUFFERED_BYTES_MAX = 32 * 1024 * 1024;
/** What a chunk costs beside its payload. */
const CHUNK_OVERHEAD_BYTES = 200;

/**
 * A checkpoint on its way. Its chunks are kept as they came, and nothing of it shows before it is applied whole (L12).
 * Staged chunks belong to this connection: they are worth nothing after it, and the next checkpoint clears them.
 */
export class PendingCheckpoint {
  readonly head: CheckpointHead;
  readonly chunks: PendingChunk[] = [];
  bytes = 0;
  ops = 0;
  readonly #db: Database;
  readonly #bufferedBytesMax: number;
  #bufferedBytes = 0;
  /** How many of the first chunks are staged. */
  #staged = 0;

  constructor(db: Database, head: CheckpointHead, bufferedBytesMax = BUFFERED_BYTES_MAX) {
    this.#db = db;
    this.head = head;
    this.#bufferedBytesMax = bufferedBytesMax;
  }

  get isStaged(): boolean {
    return this.#staged > 0;
  }

  /** @throws SqliteFailure when staging fails. */
  add({ no, codec, ops, payloadBytes, payload }: ChunkMessage): void {
    this.chunks.push({ no, codec, ops, payloadBytes, payload });
    this.bytes += payload.length;
    this.ops += ops;
    this.#bufferedBytes += payload.length + CHUNK_OVERHEAD_BYTES;
    if (this.#bufferedBytes > this.#bufferedBytesMax) this.#stage();
  }

  #stage(): void {
    const db = this.#db;
    const first = this.#staged;
    db.run('BEGIN IMMEDIATE');
    try {
      if (first === 0) db.run('DELETE FROM _sluice_stage');
      for (let i = first; i < this.chunks.length; i++)
        this.chunks[i] = this.#stageChunk(this.chunks[i] as PendingChunk, i);
      db.run('COMMIT');
    } catch (error) {
      if (db.inTransaction) db.run('ROLLBACK');
      throw error;
    }
    this.#staged = this.chunks.length;
    this.#bufferedBytes = 0;
  }
  #stageChunk(chunk: PendingChunk, stageId: number): PendingChunk {
    if (!(chunk.payload instanceof Uint8Array)) return chunk;
    this.#db.run('INSERT INTO _sluice_stage (id, payload) VALUES (?, ?)', [stageId, chunk.payload]);
    return { ...chunk, payload: { stageId } };
  }

  /** The payload as it came. @throws SqliteFailure */
  payloadOf(chunk: PendingChunk): Uint8Array {
    if (chunk.payload instanceof Uint8Array) return chunk.payload;
    let bytes: Uint8Array = new Uint8Array();
    this.#db.forEachRow('SELECT payload FROM _sluice_stage WHERE id = ?', [chunk.payload.stageId], (row) => {
      bytes = row.blob(0);
    });
    return bytes;
  }
}

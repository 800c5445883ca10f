import type { BucketId, Epoch, Lsn, StreamNo } from '@sluice/domain';
import type { ChunkCodec } from './chunk.ts';

/** Raised when any byte of the protocol changes meaning; docs/protocol.md describes the same version. */
export const PROTOCOL_VERSION = 2;
/** WebSocket sub-protocols: binary frames, or the same messages as JSON text for debugging. */
export const SUBPROTOCOL_BINARY = 'sluice.v1';
export const SUBPROTOCOL_JSON = 'sluice.v1.json';

/** Bounds that both sides enforce. Bytes unless named otherwise. */
export const LIMITS = {
  clientMessageBytesMax: 256 * 1024,
  tokenBytesMax: 8 * 1024,
  serverMessageBytesMax: 5 * 1024 * 1024,
  bucketsMax: 1000,
  authenticateWithinMs: 5000,
  /** Payload of one upload: one local transaction. */
  uploadBytesMax: 192 * 1024,
  uploadMutationsMax: 5000,
  /** Uploads that a client may have sent and not heard of. */
  uploadsUnansweredMax: 16,
} as const;

export interface ColumnSchema {
  readonly name: string;
  readonly sqliteType: 'INTEGER' | 'TEXT' | 'BLOB' | 'ANY';
  readonly pgType: string;
}
export interface TableSchema {
  readonly name: string;
  /** Key columns first. */
  readonly columns: readonly ColumnSchema[];
  readonly keyColumns: number;
}
export interface StreamSchema {
  readonly stream: StreamNo;
  readonly name: string;
  /** Name of the client table that the stream feeds. */
  readonly table: string;
}

export type ClientMessage =
  | {
      readonly type: 'hello';
      readonly version: number;
      readonly project: string;
      readonly token: string;
      /** A UUID that the client keeps with its database. */
      readonly clientId: string;
      /** Name and version of the SDK, for the operator's eyes. */
      readonly sdk: string;
      /** What the client's database holds, or undefined for an empty one. */
      readonly resume: { readonly epoch: Epoch; readonly lsn: Lsn; readonly buckets: readonly BucketId[] } | undefined;
    }
  | { readonly type: 'token'; readonly token: string }
  /** The checkpoint is applied and durable on the client. */
  | { readonly type: 'applied'; readonly epoch: Epoch; readonly lsn: Lsn }
  | { readonly type: 'ping'; readonly nonce: number }
  /**
   * One local transaction. Sent after `writes` said `enabled`, in order of `seq`, and again with every connection until it is settled:
   * the rows of `sluice_client` say how far they are (L15).
   */
  | {
      readonly type: 'upload';
      /** 1 for the first transaction of this client, then without gaps. */
      readonly seq: number;
      /** Refusals up to this number are kept by the client; the server forgets them. 0 for none. */
      readonly refusalsKept: number;
      /** `encodeMutations`. */
      readonly mutations: Uint8Array;
    };

export interface BucketAnnouncement {
  /** Number that the messages of this connection use for the bucket. */
  readonly no: number;
  readonly bucket: BucketId;
  readonly stream: StreamNo;
}
export interface BucketSum {
  readonly no: number;
  /** L9: sum mod 2^64 of the hashes of the bucket's live rows, unsigned. */
  readonly checksum: bigint;
  readonly rows: number;
}

export type ServerMessage =
  | { readonly type: 'welcome'; readonly version: number; readonly session: string; readonly pingIntervalMs: number }
  /** All tables and streams from now on; sent before the first checkpoint and whenever it changes. */
  | { readonly type: 'schema'; readonly tables: readonly TableSchema[]; readonly streams: readonly StreamSchema[] }
  /**
   * Opens a checkpoint. Everything up to `checkpoint-end` is applied in one transaction (L12).
   * `reset`: forget all rows and buckets first. `drop`: let go of these buckets. `replace`: let go of what the bucket
   * holds (it may be new); its chunks then hold its full content. `extend`: a held bucket that gets further ops.
   */
  | {
      readonly type: 'checkpoint';
      readonly epoch: Epoch;
      readonly lsn: Lsn;
      readonly committedAtMs: number;
      readonly reset: boolean;
      readonly drop: readonly BucketId[];
      readonly replace: readonly BucketAnnouncement[];
      readonly extend: readonly BucketAnnouncement[];
      /** What follows, for progress; rows are ops. */
      readonly totalOps: number;
      readonly totalBytes: number;
    }
  | {
      readonly type: 'chunk';
      readonly no: number;
      readonly codec: ChunkCodec;
      readonly ops: number;
      /** Length of the payload once inflated. */
      readonly payloadBytes: number;
      readonly payload: Uint8Array;
    }
  /** Commits the open checkpoint. `sums` names every bucket that it replaced or extended. */
  | { readonly type: 'checkpoint-end'; readonly epoch: Epoch; readonly lsn: Lsn; readonly sums: readonly BucketSum[] }
  /** `fatal`: the server closes the connection after this message. */
  | {
      readonly type: 'error';
      readonly code: string;
      readonly message: string;
      readonly remedy: string;
      readonly fatal: boolean;
    }
  | { readonly type: 'pong'; readonly nonce: number }
  /** The token ends soon: answer with a `token` message of the same subject. */
  | { readonly type: 'token-expiring'; readonly inMs: number }
  /** State of the project's source, also while nothing arrives: `live`, `loading` with progress, or a coded stall. */
  | {
      readonly type: 'source';
      readonly state: 'live' | 'loading' | 'stalled' | 'stopped';
      readonly code: string;
      readonly rowsDone: number;
      readonly rowsEstimate: number;
    }
  /** Whether uploads are taken: after `welcome`, and whenever it changes. `code` says why they are not. */
  | { readonly type: 'writes'; readonly state: 'enabled' | 'read-only' | 'unavailable'; readonly code: string }
  /**
   * What became of an upload. `recorded`: its record is committed at the source, now or by an earlier attempt; whether it was
   * applied or refused arrives with a checkpoint. `retry`: nothing happened, send it again. `gap`: uploads from `expected` on
   * are missing.
   */
  | {
      readonly type: 'upload-result';
      readonly seq: number;
      readonly result: 'recorded' | 'retry' | 'gap';
      readonly code: string;
      readonly expected: number;
    };

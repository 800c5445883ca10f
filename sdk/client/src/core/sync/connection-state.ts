import type { BucketId, Epoch, Lsn, StreamNo } from '@sluice/domain';
import type { Code } from '@sluice/errors';
import type { BucketSum, ClientMessage, ServerMessage } from '@sluice/protocol';

/** What the connection is doing. Times are monotonic milliseconds. */
export type Phase =
  /** The app does not want a connection. */
  | { readonly kind: 'idle' }
  /** The server refused for good; only a new `connect` tries again. */
  | { readonly kind: 'stopped' }
  | { readonly kind: 'waiting'; readonly untilMs: number }
  | { readonly kind: 'authorizing'; readonly request: number; readonly deadlineMs: number }
  | { readonly kind: 'opening'; readonly token: string; readonly deadlineMs: number }
  | { readonly kind: 'greeting'; readonly deadlineMs: number; readonly claimed: Claimed | undefined }
  | SyncingPhase;

/** What the client told the server that it holds; what it left out, it must not keep past the next checkpoint. */
export interface Claimed {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly leftOut: ReadonlySet<BucketId>;
}

export interface SyncingPhase {
  readonly kind: 'syncing';
  readonly pingIntervalMs: number;
  readonly heardAtMs: number;
  /** When the unanswered ping was sent, if there is one. */
  readonly pingedAtMs: number | undefined;
  readonly hasSchema: boolean;
  /** Streams of the announced schema. */
  readonly streams: ReadonlySet<StreamNo>;
  /** Undefined when the server was told that the client holds nothing. */
  readonly claimed: Claimed | undefined;
  readonly open: OpenCheckpoint | undefined;
  /** A token that is being fetched to replace the one that ends. */
  readonly refresh: number | undefined;
}
export interface OpenCheckpoint {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  /** Bucket numbers that its chunks and sums may use. */
  readonly announced: ReadonlySet<number>;
}

export interface ConnectionState {
  readonly phase: Phase;
  /** Attempts since a checkpoint was last applied; spaces the next ones out. */
  readonly attempt: number;
  /** Number of the last token request; answers to older ones are ignored. */
  readonly request: number;
  /** Buckets to load again, or all of them, because what is held did not add up. */
  readonly distrusted: ReadonlySet<BucketId> | 'all';
}

export const INITIAL_STATE: ConnectionState = {
  phase: { kind: 'idle' },
  attempt: 0,
  request: 0,
  distrusted: new Set(),
};

export type ConnectionEvent =
  | { readonly type: 'connect' }
  | { readonly type: 'disconnect' }
  /** The device is online again: do not wait any longer. */
  | { readonly type: 'online' }
  | { readonly type: 'token'; readonly request: number; readonly token: string }
  | { readonly type: 'token-failed'; readonly request: number }
  | { readonly type: 'socket-open' }
  /** `reason` as the server gave it, or empty. */
  | { readonly type: 'socket-closed'; readonly reason: string }
  | { readonly type: 'message'; readonly message: ServerMessage }
  /** A message that could not be read. */
  | { readonly type: 'unreadable'; readonly code: Code }
  | { readonly type: 'applied'; readonly epoch: Epoch; readonly lsn: Lsn }
  /** A checkpoint, a schema or a chunk could not be taken; what was held before is still there. */
  /** The rows were found to be damaged: everything is loaded anew, now or with the next connection. */
  | { readonly type: 'distrust' }
  | { readonly type: 'refused'; readonly code: Code; readonly mismatched: readonly BucketId[] }
  | { readonly type: 'timer' };

/** What the state machine reads but does not own. */
export interface ConnectionContext {
  readonly nowMs: number;
  /** In [0, 1). */
  readonly random: number;
  /** The checkpoint that the replica is at. */
  readonly held: { readonly epoch: Epoch; readonly lsn: Lsn } | undefined;
}

export type ConnectionEffect =
  | { readonly type: 'fetch-token'; readonly request: number }
  | { readonly type: 'open-socket' }
  | { readonly type: 'close-socket' }
  /** `distrusted` buckets are left out of what the client claims to hold. */
  | { readonly type: 'send-hello'; readonly token: string; readonly distrusted: ReadonlySet<BucketId> | 'all' }
  | { readonly type: 'send'; readonly message: ClientMessage }
  | { readonly type: 'announce'; readonly schema: Extract<ServerMessage, { type: 'schema' }> }
  /** The head also lets go of whatever the client holds but did not claim. */
  | { readonly type: 'begin'; readonly head: Extract<ServerMessage, { type: 'checkpoint' }> }
  | { readonly type: 'chunk'; readonly chunk: Extract<ServerMessage, { type: 'chunk' }> }
  | { readonly type: 'apply'; readonly sums: readonly BucketSum[] }
  /** Forget the checkpoint that was on its way. */
  | { readonly type: 'discard' }
  | { readonly type: 'source'; readonly source: Extract<ServerMessage, { type: 'source' }> }
  | { readonly type: 'writes'; readonly writes: Extract<ServerMessage, { type: 'writes' }> }
  | { readonly type: 'upload-result'; readonly result: Extract<ServerMessage, { type: 'upload-result' }> }
  | { readonly type: 'report'; readonly error: ReportedError };

/** An error of this client by its code, or one that the server described. */
export type ReportedError =
  | { readonly kind: 'own'; readonly code: Code; readonly reason: string | undefined }
  | { readonly kind: 'server'; readonly code: string; readonly message: string; readonly remedy: string };

export interface Transition {
  readonly state: ConnectionState;
  readonly effects: readonly ConnectionEffect[];
}

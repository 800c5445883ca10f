import type { ResultFrame } from '../core/query/frame.ts';
import type { CheckpointInfo, ClientErrorInfo, QueryParameter, Status, WriteOperation } from '../types.ts';

/** Calls that are answered; what each gives is what ClientCore gives. */
export type Call =
  | { readonly method: 'query'; readonly sql: string; readonly parameters: readonly QueryParameter[] }
  | { readonly method: 'write'; readonly operations: readonly WriteOperation[] }
  | { readonly method: 'rejected' }
  | { readonly method: 'dismiss'; readonly id: number }
  | { readonly method: 'verify'; readonly heal: boolean }
  | { readonly method: 'export' }
  | { readonly method: 'signOut' };

/** What a page asks of the database; ids rise and are its own, calls and live queries together. */
export type TabRequest =
  | { readonly kind: 'connect' }
  | { readonly kind: 'disconnect' }
  | { readonly kind: 'call'; readonly id: number; readonly call: Call }
  | { readonly kind: 'live'; readonly id: number; readonly sql: string; readonly parameters: readonly QueryParameter[] }
  | { readonly kind: 'unlive'; readonly id: number }
  /** A message about this live query, or the status (id 0), has been handled: another may follow. */
  | { readonly kind: 'seen'; readonly id: number }
  /** Answers `auth`; undefined when the app's callback failed. */
  | { readonly kind: 'token'; readonly request: number; readonly token: string | undefined };

/** What it is told. */
export type TabEvent =
  | { readonly kind: 'status'; readonly status: Status }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly error: ClientErrorInfo }
  | {
      readonly kind: 'rows';
      readonly id: number;
      readonly frame: ResultFrame;
      readonly checkpoint: CheckpointInfo | undefined;
      /** Hash of the frame. */
      readonly result: string;
    }
  | { readonly kind: 'live-failure'; readonly id: number; readonly error: ClientErrorInfo }
  | { readonly kind: 'auth'; readonly request: number };

/** From a page to its worker. */
export type PageMessage =
  | {
      /** The first message, once. */
      readonly kind: 'open';
      readonly url: string;
      readonly project: string;
      readonly name: string;
      readonly storage: 'opfs' | 'memory';
    }
  | TabRequest
  /** The browser is about to freeze this page, or woke it. */
  | { readonly kind: 'freeze' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'close' };

/** From a worker to its page. */
export type WorkerMessage =
  | TabEvent
  /** Answers `close`; nothing further comes. */
  | { readonly kind: 'closed' }
  /** The database could not be opened; nothing further comes. */
  | { readonly kind: 'fatal'; readonly error: ClientErrorInfo };

/** The id that `seen` has for the status. */
export const STATUS_ID = 0;

/** The buffers of a frame, to be moved rather than copied. */
export function frameBuffers({ cells, tags, bytes }: ResultFrame): ArrayBuffer[] {
  return [cells.buffer, tags.buffer, bytes.buffer];
}

import type { ProjectId } from '@sluice/domain';
import type { Code } from '@sluice/errors';

/** Local transactions of one client, as the gateway hands them over: its token is verified, each payload well formed. */
export interface Upload {
  readonly project: ProjectId;
  /** What clients call the project; the source's records are kept under it. */
  readonly ref: string;
  /** The token's `sub`, to which the client id is bound. */
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** A UUID. */
  readonly clientId: string;
  /** The number of the first of them; 1 for the client's first of all. */
  readonly seq: number;
  /** Refusals up to this number are kept by the client; 0 for none. */
  readonly refusalsKept: number;
  /** One or more, numbered from `seq` on; each as `encodeMutations` has it. */
  readonly transactions: readonly Uint8Array[];
}

/**
 * `recorded`: the first is, and every other one below `expected`: the record is committed, now or by an earlier attempt, and with
 * it the writes or their refusal. `retry`: those below `expected` are recorded, and the one of that number is not, as far as is
 * known; `code` says why. `gap`: those from `expected` on are missing before the first.
 */
export interface UploadAnswer {
  readonly result: 'recorded' | 'retry' | 'gap';
  readonly code: Code | '';
  /** The number that may come next. */
  readonly expected: number;
}

export interface WritesState {
  readonly state: 'enabled' | 'read-only' | 'unavailable';
  /** Why they are not taken. */
  readonly code: Code | '';
}

/**
 * The way to the writer, in this process or another: the gateway faces the internet and holds no credentials of sources.
 * Whatever gets lost on the way is an answer `retry`, and the client sends the upload again (L15).
 */
export interface Uploads {
  /** Whether the project's uploads are taken now. Cheap: it is asked for every project that has sessions. */
  stateOf(project: ProjectId): Promise<WritesState>;
  /**
   * Takes an upload, each transaction exactly once however often it comes (L15). Uploads of one client must come one after the
   * other, in order; those of different clients are written side by side.
   * @throws AppError WRITE_CLIENT_FOREIGN, which ends the session, or one that a retry heals
   */
  write(upload: Upload): Promise<UploadAnswer>;
}

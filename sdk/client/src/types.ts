/** What can be bound to a place of a query. */
export type QueryParameter = null | boolean | number | bigint | string | Uint8Array;
/** What a query gives: an integer beyond 2^53 is a bigint, everything else is as SQLite has it. */
export type QueryValue = null | number | bigint | string | Uint8Array;
export type QueryRow = Record<string, QueryValue>;

/** A commit of the source; everything up to it, and nothing beyond, is in the tables. */
export interface CheckpointInfo {
  readonly epoch: number;
  /** As Postgres writes an LSN, for example `16/B374D848`. */
  readonly lsn: string;
  /** When the source committed it, Unix time in milliseconds by the source's clock. */
  readonly committedAtMs: number;
}

export interface ClientErrorInfo {
  /** Stable; docs/errors.md lists all of them. */
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

export interface Status {
  readonly connection: 'offline' | 'connecting' | 'connected';
  /** What the server says of the project's source; undefined until it has. */
  readonly source:
    | {
        readonly state: 'live' | 'loading' | 'stalled' | 'stopped';
        /** Empty, or the code of what stalls or stopped it. */
        readonly code: string;
        readonly rowsDone: number;
        readonly rowsEstimate: number;
      }
    | undefined;
  readonly checkpoint: CheckpointInfo | undefined;
  /** Set while a checkpoint is on its way: bytes as they arrive, then ops as they are applied. */
  readonly progress:
    | {
        readonly opsDone: number;
        readonly opsTotal: number;
        readonly bytesDone: number;
        readonly bytesTotal: number;
      }
    | undefined;
  /** Cleared by the next checkpoint that is applied. */
  readonly lastError: ClientErrorInfo | undefined;
  /** Undefined until the database is open. `memory` does not outlive the page. */
  readonly storage: 'opfs' | 'file' | 'memory' | undefined;
  readonly lastAppliedAtMs: number | undefined;
}

export interface LiveInfo {
  /** The checkpoint whose rows these are. */
  readonly checkpoint: CheckpointInfo | undefined;
}
export interface Subscription {
  unsubscribe(): void;
}

export interface VerifyOptions {
  /**
   * When something differs, everything is loaded anew, now or with the next connection; until then the rows stay as they are.
   * False by default.
   */
  readonly heal?: boolean;
}
export interface VerifyResult {
  readonly ok: boolean;
  readonly rows: number;
  /** What differs, without row values; at most 100 lines. */
  readonly problems: readonly string[];
  readonly buckets: readonly {
    readonly bucket: string;
    readonly stream: string;
    readonly table: string;
    readonly rows: number;
    /** Recomputed from the table, unsigned. */
    readonly checksum: bigint;
    readonly ok: boolean;
  }[];
}

/** A live, partial replica. It only reads; rows come from the server. Every rejection is a SluiceError. */
export interface SluiceClient {
  /** Connects and stays connected, through every interruption, until `disconnect`. */
  connect(): void;
  /** Hangs up; the rows stay and queries go on working. */
  disconnect(): void;
  /** Ends everything and lets go of the database, which stays for the next client of the same name. */
  close(): Promise<void>;
  /** Runs one reading statement; of two columns with one name the last wins. */
  query<T = QueryRow>(sql: string, parameters?: readonly QueryParameter[]): Promise<T[]>;
  /** Calls `onRows` with the result, now or after the first checkpoint, and again whenever a checkpoint changed it. */
  live<T = QueryRow>(
    sql: string,
    parameters: readonly QueryParameter[],
    onRows: (rows: T[], info: LiveInfo) => void,
    onError?: (error: SluiceError) => void,
  ): Subscription;
  status(): Status;
  /** Calls `listener` with the status, now and after each change; the returned function ends that. */
  onStatus(listener: (status: Status) => void): () => void;
  /** Resolves once a checkpoint is in the tables, also one of an earlier session. */
  ready(): Promise<void>;
  /** Recomputes the checksum of everything that is held. Reads every row. */
  verify(options?: VerifyOptions): Promise<VerifyResult>;
  /** The database as a SQLite file. */
  export(): Promise<Uint8Array>;
  /** Hangs up and erases everything that was synced. */
  signOut(): Promise<void>;
}

/** What every call of a client rejects with. */
export class SluiceError extends Error {
  override readonly name = 'SluiceError';
  readonly code: string;
  readonly remedy: string;

  constructor(info: ClientErrorInfo, options?: { cause?: unknown }) {
    super(`${info.code}: ${info.message} ${info.remedy}`, options);
    this.code = info.code;
    this.remedy = info.remedy;
  }
}

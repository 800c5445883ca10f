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
  readonly writes: WriteStatus;
}

export interface WriteStatus {
  /** Whether the server takes writes; what it said last. While it is `unavailable`, writes wait. */
  readonly state: 'unknown' | 'enabled' | 'read-only' | 'unavailable';
  /** Empty, or the code of why it does not. */
  readonly code: string;
  /** Local transactions that are not settled: the source has not said what became of them. */
  readonly pending: number;
  /** Transactions that were refused and not dismissed. */
  readonly rejected: number;
  /** Transactions that had been settled and that the source lost since, because it was set back; since the client was created. */
  readonly lost: number;
}
/** A local transaction that the server refused; its rows are as the server has them again. */
export interface RejectedWriteInfo {
  readonly id: number;
  readonly code: string;
  readonly reason: string;
  /** When this client heard of it, Unix time in milliseconds. */
  readonly rejectedAtMs: number;
  /** What it did, to be corrected and written again. */
  readonly operations: readonly WriteOperation[];
}

/** Values by column; key columns among them. A column that is left out of an insert, or NULL, gets the default of the source. */
export type WriteValues = Readonly<Record<string, QueryParameter>>;
/** One step of a local transaction. SQL is one INSERT, UPDATE or DELETE of a synced table, and cannot change a key. */
export type WriteOperation =
  | { readonly sql: string; readonly parameters?: readonly QueryParameter[] }
  | { readonly insert: string; readonly values: WriteValues }
  /** Inserts the row, or changes these columns of the one that is there. */
  | { readonly upsert: string; readonly values: WriteValues }
  /** Changes these columns of the row with this key. */
  | { readonly update: string; readonly values: WriteValues }
  | { readonly delete: string; readonly key: WriteValues };

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

/** A live, partial replica. Every rejection is a SluiceError. */
export interface SluiceClient {
  /** Connects and stays connected, through every interruption, until `disconnect`. Tabs share one connection, which lasts while any wants it. */
  connect(): void;
  /** Hangs up, unless another tab wants the connection; the rows stay and queries go on working. */
  disconnect(): void;
  /** Ends everything and lets go of the database, which stays for other tabs and the next client of the same name. */
  close(): Promise<void>;
  /** Runs one reading statement; a second column of one name is called `name:1`. */
  query<T = QueryRow>(sql: string, parameters?: readonly QueryParameter[]): Promise<T[]>;
  /**
   * Runs one local transaction: all of its operations or none. It is visible to queries at once, also offline, and goes to the source
   * when it can, once. Resolves, when it is kept, to the rows that each operation's RETURNING gave.
   */
  write(operations: WriteOperation | readonly WriteOperation[]): Promise<QueryRow[][]>;
  /** Transactions that the source refused, oldest first, until they are dismissed. */
  rejected(): Promise<readonly RejectedWriteInfo[]>;
  /** Forgets a refused transaction. */
  dismiss(id: number): Promise<void>;
  /** Calls `onRows` with the result, now or after the first checkpoint, and again whenever a checkpoint or a write changed it. */
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
  /** Hangs up and erases everything that was synced, for every tab; the others are told CLIENT_SIGNED_OUT. */
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

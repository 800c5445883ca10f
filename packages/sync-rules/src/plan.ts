/**
 * What the compiler makes of a rules file: plain JSON, stored with each stream generation, evaluated by the bucket worker
 * (rows to buckets) and the gateway (token claims to buckets). Part of the stored format: a change of shape raises
 * PLAN_VERSION and a stream's identity with it (L11).
 */
export const PLAN_VERSION = 1;

/** Postgres types whose equality is byte equality of their canonical text, so that claims can be compared with them. */
export type ParamType = 'text' | 'int' | 'uuid' | 'bool';

export interface SourceColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
}

/** SQLite STRICT column types; ANY holds floats, whose NaN and infinities are text. */
export type SqliteType = 'INTEGER' | 'TEXT' | 'BLOB' | 'ANY';

export interface ClientColumn {
  readonly name: string;
  readonly sqliteType: SqliteType;
  /** Postgres type name as the catalog formats it, for generated types and docs. */
  readonly pgType: string;
  readonly source: SourceColumn;
  /** Decides the cell's encoding: the base type of a domain, else the type itself. */
  readonly baseTypeOid: number;
}

/** A table in the client's database. Key columns come first: an encoded row begins with its row key. */
export interface ClientTable {
  readonly name: string;
  readonly columns: readonly ClientColumn[];
  readonly keyColumns: number;
}

export interface SourceTable {
  readonly schema: string;
  readonly name: string;
}

/** A value that a session's token gives: `auth.user_id()` is the `sub` claim; a path of keys otherwise. */
export interface ClaimRef {
  readonly path: readonly string[];
}

/** A condition on one row alone. NULL compares as unknown, as in SQL. */
export type RowFilter =
  | { readonly kind: 'equals'; readonly column: SourceColumn; readonly text: string }
  | { readonly kind: 'not-equals'; readonly column: SourceColumn; readonly text: string }
  /** Equal to one of `texts`: two or more, sorted, without duplicates. */
  | { readonly kind: 'one-of'; readonly column: SourceColumn; readonly texts: readonly string[] }
  | { readonly kind: 'is-null'; readonly column: SourceColumn }
  | { readonly kind: 'is-not-null'; readonly column: SourceColumn };

export type ClaimConstant = string | number | boolean;

/**
 * A condition on the token alone. A claim that is missing, or of another JSON type than the constants, satisfies none
 * of them, `claim-not-equals` included.
 */
export type ClaimFilter =
  | { readonly kind: 'claim-equals'; readonly claim: ClaimRef; readonly value: ClaimConstant }
  | { readonly kind: 'claim-not-equals'; readonly claim: ClaimRef; readonly value: ClaimConstant }
  /** Equal to one of `values`: two or more of one type, sorted, without duplicates. */
  | { readonly kind: 'claim-one-of'; readonly claim: ClaimRef; readonly values: readonly ClaimConstant[] };

/** Rows of `table` that satisfy `filters` map the lookup key (their `lookup` columns' values) to the value of `output`. */
export interface MembershipPlan {
  readonly table: SourceTable;
  /** Row key of the membership table: identifies a membership row across updates. */
  readonly key: readonly SourceColumn[];
  readonly filters: readonly RowFilter[];
  readonly lookup: readonly { readonly column: SourceColumn; readonly type: ParamType; readonly claim: ClaimRef }[];
  readonly output: { readonly column: SourceColumn; readonly type: ParamType };
  readonly claimFilters: readonly ClaimFilter[];
}

/** One disjunct of a stream's WHERE in disjunctive normal form: a family of buckets, one per tuple of `params`. */
export interface BucketPlan {
  readonly filters: readonly RowFilter[];
  readonly claimFilters: readonly ClaimFilter[];
  readonly params: readonly BucketParam[];
}
export interface BucketParam {
  /** The column of the stream's table that carries this parameter's value. */
  readonly column: SourceColumn;
  readonly type: ParamType;
  readonly from:
    | { readonly kind: 'claim'; readonly claim: ClaimRef }
    | { readonly kind: 'membership'; readonly membership: number };
}

export interface StreamPlan {
  readonly version: typeof PLAN_VERSION;
  readonly name: string;
  readonly sourceTable: SourceTable;
  readonly table: ClientTable;
  readonly buckets: readonly BucketPlan[];
  readonly memberships: readonly MembershipPlan[];
  /**
   * Tables that the stream reads, as `schema.table`, whose old rows the source does not send: the stream keeps the state of
   * each of their rows (L7). Absent when there are none. No part of the content: the buckets are the same either way.
   */
  readonly rowStates?: readonly string[];
  /** Hash of the compiled meaning, relation and column types included; hex (L11). */
  readonly contentHash: string;
}

export interface CompiledRules {
  readonly streams: readonly StreamPlan[];
  /** Every table that the streams read, without duplicates, in a stable order: what the publication must hold. */
  readonly tables: readonly SourceTable[];
  /** What clients may write; absent when all is read-only. */
  readonly writes?: WritesPlan;
}

/**
 * What becomes of a write when the row at the source is no longer what the client saw. `merge`: the columns that it changed
 * are set. `reject-if-stale`: refused when one of them has changed meanwhile. `server-wins`: then it is skipped instead.
 * `insert-only`: rows are added, never changed.
 */
export const WRITE_POLICIES = ['merge', 'reject-if-stale', 'server-wins', 'insert-only'] as const;
export type WritePolicy = (typeof WRITE_POLICIES)[number];

export interface WritesPlan {
  /** The role that the writer takes on for the statements of a client. */
  readonly role: string;
  readonly tables: readonly WritableTable[];
}
export interface WritableTable {
  /** As streams feed it: key columns first. Columns that no stream selects cannot be written. */
  readonly table: ClientTable;
  readonly source: SourceTable;
  readonly policy: WritePolicy;
}

/** The part of a source's catalog that the compiler checks against. */
export interface Catalog {
  readonly tables: readonly CatalogTable[];
}
export interface CatalogTable extends SourceTable {
  readonly oid: number;
  /** pg_class.relkind: 'r' ordinary, 'p' partitioned, 'v' view, 'f' foreign. */
  readonly kind: string;
  /** Of a partitioned table 'permanent' only if all its partitions are; foreign ones count as unlogged. */
  readonly persistence: 'permanent' | 'unlogged' | 'temporary';
  /** Of a partitioned table that of all its partitions, by which they write the WAL; 'nothing' when they differ. */
  readonly replicaIdentity: 'default' | 'nothing' | 'full' | 'index';
  readonly columns: readonly CatalogColumn[];
  /** Names of the row key's columns in key order: the primary key's, else the identity index's; empty without either (L6). */
  readonly primaryKey: readonly string[];
  /** Names of the columns by which updates and deletes name their row: of the primary key or the identity index. */
  readonly identityKey: readonly string[];
  /** Other tables inherit from it, partitions not counted: a query of it shows rows that are not its own. */
  readonly hasInheritors: boolean;
  /** The partitioned table at the top of those that it is a partition of. */
  readonly partitionOf: SourceTable | undefined;
}
export interface CatalogColumn extends SourceColumn {
  /** format_type(atttypid, atttypmod). */
  readonly pgType: string;
  readonly notNull: boolean;
  readonly generated: boolean;
  /** Set when the column's collation is nondeterministic, so that equality is not byte equality. */
  readonly nondeterministicCollation: boolean;
  /** The base type of a domain, else the type itself. */
  readonly baseTypeOid: number;
  /** pg_type.typtype of the base type: 'b' base, 'e' enum, 'c' composite, 'r' range, 'm' multirange, 'd' domain. */
  readonly typeKind: string;
}

/** A problem in a rules file. Lines and columns start at 1 and count UTF-16 code units, as editors do. */
export interface Diagnostic {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

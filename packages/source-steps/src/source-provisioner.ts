import type { ProjectId } from '@sluice/domain';
import type { Code } from '@sluice/errors';
import type { Catalog, CompiledRules, SourceTable } from '@sluice/sync-rules';

/** One condition that a source must meet before it can be replicated. */
export interface CheckResult {
  /** Stable name of the check, e.g. `wal_level`; with the table's name where it is about one. */
  readonly check: string;
  readonly ok: boolean;
  readonly code?: Code;
  /** What to run on the source to put it right. */
  readonly sql?: string;
  /** What was found, in a sentence. No values of rows. */
  readonly message: string;
}

export interface ProvisioningProject {
  readonly projectId: ProjectId;
  readonly ref: string;
}

/** The rules that a deploy brings into force, compiled against the source's catalog a moment ago. */
export interface RulesToApply {
  readonly version: number;
  readonly yaml: string;
  readonly compiled: CompiledRules;
}

/** The steps that `apply` goes through, in this order. */
export type ApplyStep = 'publication' | 'slot' | 'snapshot' | 'live';

/** Whole units, rows for the snapshot; `estimate` is the expected total, undefined when unknown. */
export interface ApplyProgress {
  readonly step: ApplyStep;
  readonly done: number;
  readonly estimate: number | undefined;
}

/** What a comparison of a project's buckets with its source found. */
export interface AuditFindings {
  /** The checkpoint at which both were looked at, as Postgres writes an LSN. */
  readonly lsn: string;
  readonly streams: readonly StreamFindings[];
}
export interface StreamFindings {
  readonly name: string;
  /** False: clients were served something else than the source's rows, and are now served what the source has. */
  readonly isEqual: boolean;
  readonly served: ContentSize;
  readonly source: ContentSize;
}
export interface ContentSize {
  readonly buckets: number;
  readonly rows: number;
}

/** What a user with some token would get of one stream, read from the source as it is now. */
export interface StreamPreview {
  readonly name: string;
  /** The client's table, its columns, key columns first. */
  readonly table: string;
  readonly columns: readonly { readonly name: string; readonly pgType: string }[];
  readonly keyColumns: number;
  /** As Postgres prints them, long values cut; in the order of keys. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** How many there are, counted up to a bound. */
  readonly count: number;
  readonly isCountExact: boolean;
  /** What the token reaches by way of other tables. */
  readonly memberships: readonly MembershipPreview[];
  /** Set when the source did not answer in time; then there are no rows. */
  readonly code: Code | undefined;
}
export interface MembershipPreview {
  /** `schema.table` and the column whose values are reached. */
  readonly table: string;
  readonly column: string;
  readonly values: readonly string[];
  readonly isComplete: boolean;
}

/** Whether one row is seen by a user with some token through one stream, and why. */
export interface StreamExplanation {
  readonly name: string;
  readonly sees: boolean;
  /** The alternatives of the stream's condition: it suffices that all conditions of one hold. */
  readonly alternatives: readonly (readonly ConditionExplanation[])[];
}
export interface ConditionExplanation {
  readonly kind: 'row' | 'token' | 'claim' | 'membership';
  /** As it reads in the rules. */
  readonly text: string;
  /** Undefined when there is no such row and the token alone does not decide. */
  readonly holds: boolean | undefined;
  /** The column of the row that is looked at, and what it has there; undefined without one. */
  readonly column: string | undefined;
  readonly value: string | null | undefined;
  /** What the token says there, as JSON; null when it has no such claim. */
  readonly claim: string | null | undefined;
  readonly membership: MembershipPreview | undefined;
}
export interface RowExplanation {
  /** Whether the source has a row with this key. */
  readonly isThere: boolean;
  /** Its values by column, where the streams select them. */
  readonly row: Readonly<Record<string, string | null>>;
  readonly streams: readonly StreamExplanation[];
}

/** Whose eyes a preview looks through. */
export interface PreviewAs {
  /** What the token says. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * What the control plane asks of whoever may reach the sources (the replicator). Every method may be called again after
 * a crash at any point and must end in the same state. Failures are AppErrors, whose code decides whether the job is
 * tried again; anything else counts as SOURCE_STEP_FAILED.
 */
export interface SourceProvisioner {
  /**
   * Every check, also those that passed, so that one look shows all that is to do. `tables` are those that the rules
   * need, none for a test of the connection. Nothing is created on the source.
   */
  preflight(project: ProvisioningProject, tables: readonly SourceTable[]): Promise<readonly CheckResult[]>;

  /** The tables that the role may see, for the rules to be checked against. */
  catalog(project: ProvisioningProject): Promise<Catalog>;

  /** How many rows each of the tables has, as the source's statistics say; 0 for one that was never analysed. */
  estimateRows(project: ProvisioningProject, tables: readonly SourceTable[]): Promise<readonly number[]>;

  /** What a user would get if these rules were in force, at most `rowsMax` rows of each stream. Reads the source and changes nothing. */
  preview(
    project: ProvisioningProject,
    rules: RulesToApply,
    as: PreviewAs & { readonly rowsMax: number },
  ): Promise<readonly StreamPreview[]>;

  /**
   * Why a user would (not) see one row of a client's table by these rules. `key` has the text of each key column.
   * @throws AppError RULES_ROW_KEY_INVALID, RULES_TABLE_NOT_SYNCED
   */
  explain(
    project: ProvisioningProject,
    rules: RulesToApply,
    as: PreviewAs & { readonly table: string; readonly key: readonly string[] },
  ): Promise<RowExplanation>;

  /**
   * Makes the rules real: publication, slot, snapshot, and streaming up to a first checkpoint that shows them whole.
   * Resolves when they are live; streaming goes on. `onProgress` is awaited before going on to another step, may be
   * called often, and rejects when the job was taken over or withdrawn: then stop. On `signal`, stop and reject.
   */
  apply(
    project: ProvisioningProject,
    rules: RulesToApply,
    onProgress: (progress: ApplyProgress) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void>;

  /** Divides the rows of a project that is served among so many shards, while it goes on; resolves when they are. */
  reshard(project: ProvisioningProject, shards: number, signal: AbortSignal): Promise<void>;

  /** Compares what a project that is served serves with its source, and puts right what differs. */
  audit(project: ProvisioningProject, signal: AbortSignal): Promise<AuditFindings>;

  /**
   * Ends streaming for good, drops slot and publication on the source and the project's data in the bucket store.
   * Succeeds when they are gone already.
   */
  release(project: ProvisioningProject, signal: AbortSignal): Promise<void>;
}

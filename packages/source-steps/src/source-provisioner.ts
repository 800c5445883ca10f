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

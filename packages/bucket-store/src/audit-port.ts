import type { LeaseToken, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import type { SourceIssue } from './port.ts';

/** Comparing two generations of one stream: the same rows in the same buckets, whatever the buckets' ids. */
export interface AuditStore {
  /**
   * A digest of some groups of a stream as of a checkpoint: of its buckets (checksum and rows of each) or of its membership
   * lookups (newest values by row). Digests of all groups add up (mod 2^64) to one that is equal for equal content; which
   * group is which plays no part. Groups without rows count for nothing. `next` continues.
   */
  readDigest(
    project: ProjectId,
    request: {
      readonly stream: StreamNo;
      readonly of: 'buckets' | 'lookups';
      readonly through: Lsn;
      readonly from: string | undefined;
      readonly groupsMax: number;
    },
  ): Promise<ContentDigest>;
  /** Adds to what operators are told of a project, as a frame's issues do. */
  noteIssues(project: ProjectId, token: LeaseToken, issues: readonly SourceIssue[]): Promise<void>;
}
export interface ContentDigest {
  readonly groups: number;
  readonly rows: number;
  /** Unsigned, mod 2^64. */
  readonly digest: bigint;
  readonly next: string | undefined;
}

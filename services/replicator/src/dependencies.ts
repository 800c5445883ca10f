import type { BucketStore } from '@sluice/bucket-store';
import type { Clock, ProjectId } from '@sluice/domain';
import type { OpQueue, WakeUps } from '@sluice/op-queue';
import type { SourceConnection } from '@sluice/source-connection';
import type { Catalog, CompiledRules } from '@sluice/sync-rules';
import type { ReplicatorEvents } from './events.ts';
import type { Tuning } from './tuning.ts';

/** What every part of the replicator is handed. */
export interface Dependencies {
  readonly store: BucketStore;
  readonly queue: OpQueue;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly events: ReplicatorEvents;
  /** Asked at each connection, so that a changed password takes effect. */
  readonly sourceOf: (project: ProjectId) => Promise<SourceConnection>;
  /**
   * Compiles the project's deployed rules against the catalog as it is now: after a schema change, and when everything is
   * copied again. Undefined while no rules are deployed. @throws AppError SCHEMA_CHANGED when they no longer fit
   */
  readonly compileRules: ((project: ProjectId, catalog: Catalog) => Promise<CompiledRules | undefined>) | undefined;
  /** Told when the project's lease was taken by this process, and when it has it no more. */
  readonly leaseChanged: (project: ProjectId, isHeld: boolean) => void;
  /** An idle source gets a heartbeat this often, milliseconds. */
  /** Shards of a project's first epoch; later ones have as many as the one before. */
  readonly shards: number;
  readonly heartbeatMs: number;
  readonly tuning: Tuning;
  /** Awaited between durable steps, by name; tests stop or fail it there. */
  readonly faultPoint: (name: string) => Promise<void>;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  /** Lower-case hexadecimal digits, for names on the source. */
  readonly randomHex: (bytes: number) => string;
}

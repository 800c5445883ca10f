export { type SourceConnection, sourceConnectionFromUrl } from '@sluice/source-connection';
export { createReplicator, type Deployment, type Replicator, type ReplicatorOptions } from './app.ts';
export { type AuditReport, auditFindings } from './audit.ts';
export type { DeployProgress } from './deploy-jobs.ts';
export type { CheckResult } from './source/preflight.ts';
export type { Tuning } from './tuning.ts';

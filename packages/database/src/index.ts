export type { CodedProblem } from './coded-problem.ts';
export type { Json } from './json.ts';
export { MIGRATIONS_FOLDER, migrate } from './migrate.ts';
export { type Database, openDatabase } from './open-database.ts';
export { type ProjectChange, watchProjectChanges } from './project-changes.ts';
export type {
  ClientAuthKeys,
  ClientAuthRecord,
  ClientAuthRules,
} from './repositories/client-auths.ts';
export {
  type JobHold,
  type JobKind,
  type JobRecord,
  type JobState,
  STEPS_BY_KIND,
  type StepName,
  type StepRecord,
  type StepState,
} from './repositories/job-record.ts';
export type { ProjectOverview, ProjectRecord } from './repositories/projects.ts';
export type { RulesRecord, RulesState, RulesSummary } from './repositories/rules-versions.ts';
export type {
  SlotNames,
  SourceAddress,
  SourceFinding,
  SourceRecord,
  SourceState,
  TlsMode,
} from './repositories/sources.ts';
export { createKeyFileIfMissing, openFileKeys } from './sealing/file-keys.ts';
export type { KeyEncryption } from './sealing/key-encryption.ts';
export { openSecret, type SecretPlace, sealSecret } from './sealing/seal.ts';

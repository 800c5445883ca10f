export type { ProjectChange, SourceFinding } from '@sluice/database';
export { type ControlPlane, type ControlPlaneOptions, createControlPlane } from './app.ts';
export type { ControlPlaneConfig } from './config.ts';
export type {
  ClientAuth,
  ProjectDirectory,
  ProjectListing,
  SourceConnection,
} from './directory/project-directory.ts';
export { controlPlaneLogFields } from './events.ts';
export type {
  ApplyProgress,
  ApplyStep,
  CheckResult,
  ProvisioningProject,
  RulesToApply,
  SourceProvisioner,
} from './jobs/source-steps.ts';

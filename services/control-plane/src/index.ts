export type { ProjectChange, SourceFinding } from '@sluice/database';
export type {
  ClientAuth,
  ProjectDirectory,
  ProjectListing,
  SourceConnection,
} from '@sluice/project-directory';
export type {
  ApplyProgress,
  ApplyStep,
  CheckResult,
  ProvisioningProject,
  RulesToApply,
  SourceProvisioner,
} from '@sluice/source-steps';
export { type ControlPlane, type ControlPlaneOptions, createControlPlane } from './app.ts';
export type { ControlPlaneConfig } from './config.ts';
export { controlPlaneLogFields } from './events.ts';

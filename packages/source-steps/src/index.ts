export { createRemoteProvisioner, type RemoteProvisioner } from './remote-provisioner.ts';
export type {
  ApplyProgress,
  ApplyStep,
  AuditFindings,
  CheckResult,
  ContentSize,
  ProvisioningProject,
  RulesToApply,
  SourceProvisioner,
  StreamFindings,
} from './source-provisioner.ts';
export { type StepHands, type StepTaker, takeSteps } from './take-steps.ts';

export { createRemoteProvisioner, type RemoteProvisioner } from './remote-provisioner.ts';
export type {
  ApplyProgress,
  ApplyStep,
  CheckResult,
  ProvisioningProject,
  RulesToApply,
  SourceProvisioner,
} from './source-provisioner.ts';
export { type StepHands, type StepTaker, takeSteps } from './take-steps.ts';

export { createRemoteProvisioner, type RemoteProvisioner } from './remote-provisioner.ts';
export type {
  ApplyProgress,
  ApplyStep,
  AuditFindings,
  CheckResult,
  ConditionExplanation,
  ContentSize,
  MembershipPreview,
  PreviewAs,
  ProvisioningProject,
  RowExplanation,
  RulesToApply,
  SourceProvisioner,
  StreamExplanation,
  StreamFindings,
  StreamPreview,
} from './source-provisioner.ts';
export { type StepHands, type StepTaker, takeSteps } from './take-steps.ts';

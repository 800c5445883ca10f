export {
  type CheckpointInfo,
  type ClientErrorInfo,
  type LiveInfo,
  type QueryParameter,
  type QueryRow,
  type QueryValue,
  type SluiceClient,
  SluiceError,
  type Status,
  type Subscription,
  type VerifyResult,
} from '@sluice/client/core';
export { type ClientOptions, createClient } from './create-client.ts';

export { type ApiClient, type ApiClientOptions, ApiError, ApiUnreachableError, createApiClient } from './api-client.ts';
export type * from './generated/operations.ts';

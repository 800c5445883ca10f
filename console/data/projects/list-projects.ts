import 'server-only';
import { ApiError, ApiUnreachableError, createApiClient, type Project } from '@sluice/api-client';
import { readConfig } from '../../config.ts';

/** What a view shows: its data, or why there is none. */
export type Listed =
  | { readonly kind: 'projects'; readonly projects: readonly Project[]; readonly hasMore: boolean }
  | { readonly kind: 'not-configured' }
  | { readonly kind: 'not-allowed' }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'failed'; readonly message: string; readonly remedy: string; readonly requestId: string };

const SHOWN_MAX = 100;

/** The projects of the platform, in the order of their creation. Expected failures are answers; others are thrown. */
export async function listProjects(): Promise<Listed> {
  const config = readConfig();
  if (!config) return { kind: 'not-configured' };
  const api = createApiClient({ baseUrl: config.controlPlaneUrl, token: config.token });
  try {
    const { projects, next } = await api.listProjects({ limit: SHOWN_MAX });
    return { kind: 'projects', projects, hasMore: next !== null };
  } catch (error) {
    if (error instanceof ApiUnreachableError) return { kind: 'unreachable' };
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) return { kind: 'not-allowed' };
    return { kind: 'failed', message: error.message, remedy: error.remedy, requestId: error.requestId };
  }
}

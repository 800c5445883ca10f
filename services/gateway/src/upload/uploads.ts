import type { ProjectId } from '@sluice/domain';

/** One upload of an open session, as it goes to the writer: its token is verified and its payload well formed. */
export interface UploadRequest {
  readonly project: ProjectId;
  /** What clients call the project. */
  readonly ref: string;
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** A UUID. */
  readonly clientId: string;
  readonly seq: number;
  readonly refusalsKept: number;
  readonly mutations: Uint8Array;
}

/**
 * The way to the writer, in this process or another: the gateway faces the internet and holds no credentials of sources.
 * Whatever gets lost on the way is an answer `retry`, and the client sends the upload again (L15).
 */
export interface Uploads {
  /** Whether the project's uploads are taken now. Cheap: it is asked for every project that has sessions. */
  stateOf(project: ProjectId): Promise<{
    readonly state: 'enabled' | 'read-only' | 'unavailable';
    readonly code: string;
  }>;
  /** @throws AppError whose close code ends the session, or one that a retry heals */
  write(request: UploadRequest): Promise<{
    readonly result: 'recorded' | 'retry' | 'gap';
    readonly code: string;
    readonly expected: number;
  }>;
}

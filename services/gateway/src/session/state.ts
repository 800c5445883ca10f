import type { Epoch, Lsn, ProjectId } from '@sluice/domain';
import type { ClientMessage, ServerMessage } from '@sluice/protocol';
import type { Window } from './window.ts';

/** What a verified token says about a session. */
export interface Identity {
  readonly project: ProjectId;
  readonly subject: string;
  readonly tokenClaims: Readonly<Record<string, unknown>>;
  /** When the session must have another token or end, Unix milliseconds. */
  readonly expiresAtMs: number;
}

export interface SessionLimits {
  readonly helloWithinMs: number;
  /** How long the verification of a hello may take; a key set may have to be fetched for it. */
  readonly verifyWithinMs: number;
  readonly pingIntervalMs: number;
  /** A client from which nothing came for so long is gone. */
  readonly silentMs: number;
  /** How long before its token ends the client is told. */
  readonly tokenWarningMs: number;
  /** How often a long session's token is checked against the project's present settings and keys. */
  readonly revalidateMs: number;
  /** An idle session is told the newest checkpoint this often. */
  readonly idleCheckpointMs: number;
  /** Checkpoints sent and not yet acknowledged, at most; newer ones wait and become one. */
  readonly unappliedMax: number;
  readonly unappliedBytesMax: number;
  /** A client that acknowledges nothing of what it was sent for so long is too slow. */
  readonly unappliedMs: number;
  /** Messages that a client may send at once, and a second from then on. */
  readonly messagesBurst: number;
  readonly messagesPerS: number;
}

export type VerifyPurpose = 'hello' | 'token' | 'revalidate';

/** The two times that a session lives by. Tokens end by the wall clock, which may jump; everything else does not. */
export interface Now {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Plain data; `advance` makes the next from it. Times are monotonic milliseconds, but for the token's end. */
export type SessionState =
  | (Common & { readonly phase: 'greeting' | 'authenticating'; readonly deadlineMs: number })
  | OpenState
  | (Common & { readonly phase: 'closed' });

interface Common {
  readonly lastHeardMs: number;
  readonly pingDueMs: number;
  readonly allowance: number;
  readonly allowanceAtMs: number;
  /** The client said hello under a UUID: only such an id can be recorded at the source. */
  readonly hasUuid: boolean;
}
export interface OpenState extends Common {
  readonly phase: 'open';
  readonly identity: Identity;
  readonly wasWarned: boolean;
  readonly verifying: VerifyPurpose | undefined;
  /** A token that came while another was being verified. */
  readonly nextToken: string | undefined;
  readonly revalidateDueMs: number;
  readonly isStepping: boolean;
  readonly hasNews: boolean;
  /** A failed step is tried again then. */
  readonly retryDueMs: number | undefined;
  readonly failures: number;
  readonly bareDueMs: number;
  readonly unapplied: readonly Unapplied[];
  /** When the client last acknowledged something. */
  readonly appliedAtMs: number;
  readonly window: Window;
  /** The newest checkpoint that the client may acknowledge: the last one sent, or the one it resumed from. */
  readonly newest: { readonly epoch: Epoch; readonly lsn: Lsn } | undefined;
  /** What the client was told last of writes; undefined until then. */
  readonly writes: WritesMessage | undefined;
  /** Uploads that are not answered, in the order they came. */
  readonly uploads: readonly Upload[];
  /** So many of them, from the first on, are with the writer. */
  readonly uploadsHandedOver: number;
}

export type WritesMessage = Extract<ServerMessage, { type: 'writes' }>;
export type Upload = Extract<ClientMessage, { type: 'upload' }>;
/** What the writer says of an upload. */
export type UploadAnswer = Omit<Extract<ServerMessage, { type: 'upload-result' }>, 'type' | 'seq'>;

export interface Unapplied {
  readonly epoch: Epoch;
  readonly lsn: Lsn;
  readonly bytes: number;
  readonly sentAtMs: number;
}

export function initialState({ monotonicMs: nowMs }: Now, limits: SessionLimits): SessionState {
  return {
    phase: 'greeting',
    deadlineMs: nowMs + limits.helloWithinMs,
    lastHeardMs: nowMs,
    pingDueMs: nowMs + limits.pingIntervalMs,
    allowance: limits.messagesBurst,
    allowanceAtMs: nowMs,
    hasUuid: false,
  };
}

/** In how many milliseconds the state wants a tick. */
export function nextDueInMs(state: SessionState, now: Now, limits: SessionLimits): number | undefined {
  if (state.phase === 'closed') return undefined;
  if (state.phase !== 'open') return state.deadlineMs - now.monotonicMs;
  const { identity, wasWarned, pingDueMs, revalidateDueMs, bareDueMs, retryDueMs } = state;
  const tokenDueMs = wasWarned ? identity.expiresAtMs : identity.expiresAtMs - limits.tokenWarningMs;
  const never = Number.POSITIVE_INFINITY;
  const dueMs = Math.min(
    pingDueMs,
    revalidateDueMs,
    bareDueMs,
    retryDueMs ?? never,
    slowFromMs(state, limits) ?? never,
  );
  return Math.min(tokenDueMs - now.wallMs, dueMs - now.monotonicMs);
}

/** When a client that acknowledges nothing more counts as too slow; undefined when it has acknowledged everything. */
export function slowFromMs({ unapplied, appliedAtMs }: OpenState, limits: SessionLimits): number | undefined {
  const [oldest] = unapplied;
  return oldest && Math.max(oldest.sentAtMs, appliedAtMs) + limits.unappliedMs;
}

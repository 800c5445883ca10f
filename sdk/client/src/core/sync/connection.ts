import type { BucketId } from '@sluice/domain';
import { type Code, definitionOf, isCode, unreachable } from '@sluice/errors';
import { CHUNK_PAYLOAD_BYTES_MAX, LIMITS, PROTOCOL_VERSION, type ServerMessage } from '@sluice/protocol';
import type {
  Claimed,
  ConnectionContext,
  ConnectionEffect,
  ConnectionEvent,
  ConnectionState,
  OpenCheckpoint,
  ReportedError,
  SyncingPhase,
  Transition,
} from './connection-state.ts';

type CheckpointMessage = Extract<ServerMessage, { type: 'checkpoint' }>;

/** Milliseconds. */
export const TIMING = {
  backoffMin: 250,
  /** Below the ten seconds in which a client converges after a fault heals. */
  backoffMax: 5000,
  /** For codes that wait for a person. */
  backoffWaitMax: 30_000,
  token: 30_000,
  open: 10_000,
  greeting: 10_000,
  /** How long a ping may stay unanswered. */
  pong: 10_000,
  pingIntervalMin: 1000,
  pingIntervalMax: 60_000,
} as const;
/** Bytes of UTF-16 text are never fewer than its length. */
const TOKEN_LENGTH_MAX = LIMITS.tokenBytesMax;

/**
 * The connection as a pure function: what happens next, and what is to be done. It admits only messages that may follow
 * the ones before them; anything else ends the connection with a code and leaves the replica as it was.
 */
export function nextConnection(state: ConnectionState, event: ConnectionEvent, context: ConnectionContext): Transition {
  switch (event.type) {
    case 'connect':
      return state.phase.kind === 'idle' || state.phase.kind === 'stopped'
        ? authorize({ ...state, attempt: 0 }, context)
        : stay(state);
    case 'disconnect':
      return { state: { ...state, phase: { kind: 'idle' }, attempt: 0 }, effects: hangUp(state) };
    case 'online':
      return state.phase.kind === 'waiting' ? authorize({ ...state, attempt: 0 }, context) : stay(state);
    case 'token':
      return tokenArrived(state, event.request, event.token, context);
    case 'token-failed':
      return tokenFailed(state, event.request, context);
    case 'socket-open':
      return socketOpened(state, context);
    case 'socket-closed':
      return isConnected(state) ? retry(state, own(codeOfClose(event.reason)), context) : stay(state);
    case 'message':
      return messageArrived(state, event.message, context);
    case 'unreadable':
      return isConnected(state) ? retry(state, own(event.code), context) : stay(state);
    case 'applied':
      return applied(state, event, context);
    case 'refused':
      return refused(state, event, context);
    case 'distrust':
      return distrust({ ...state, distrusted: 'all' }, context);
    case 'timer':
      return timerFired(state, context);
    default:
      return unreachable(event);
  }
}

function distrust(state: ConnectionState, context: ConnectionContext): Transition {
  return isConnected(state) ? retry(state, own('CHECKSUM_MISMATCH'), context) : stay(state);
}

/** When `timer` is due, or undefined when nothing is waited for. */
export function deadlineOf({ phase }: ConnectionState): number | undefined {
  switch (phase.kind) {
    case 'idle':
    case 'stopped':
      return undefined;
    case 'waiting':
      return phase.untilMs;
    case 'authorizing':
    case 'opening':
    case 'greeting':
      return phase.deadlineMs;
    case 'syncing':
      return phase.pingedAtMs === undefined ? phase.heardAtMs + phase.pingIntervalMs : phase.pingedAtMs + TIMING.pong;
    default:
      return unreachable(phase);
  }
}

function stay(state: ConnectionState): Transition {
  return { state, effects: [] };
}
function own(code: Code, reason?: string): ReportedError {
  return { kind: 'own', code, reason };
}
/** The server's reason for closing is a code, also where the error message before it was lost. */
function codeOfClose(reason: string): Code {
  return isCode(reason) ? reason : 'CLIENT_CONNECTION_LOST';
}
function isConnected({ phase }: ConnectionState): boolean {
  return phase.kind === 'opening' || phase.kind === 'greeting' || phase.kind === 'syncing';
}
function hangUp(state: ConnectionState): ConnectionEffect[] {
  return isConnected(state) ? [{ type: 'discard' }, { type: 'close-socket' }] : [];
}

function authorize(state: ConnectionState, { nowMs }: ConnectionContext): Transition {
  const request = state.request + 1;
  const phase = { kind: 'authorizing', request, deadlineMs: nowMs + TIMING.token } as const;
  return { state: { ...state, request, phase }, effects: [{ type: 'fetch-token', request }] };
}

function tokenArrived(state: ConnectionState, request: number, token: string, context: ConnectionContext): Transition {
  const { phase } = state;
  if (token === '' || token.length > TOKEN_LENGTH_MAX) return tokenFailed(state, request, context);
  if (phase.kind === 'authorizing' && phase.request === request) {
    const opening = { kind: 'opening', token, deadlineMs: context.nowMs + TIMING.open } as const;
    return { state: { ...state, phase: opening }, effects: [{ type: 'open-socket' }] };
  }
  if (phase.kind === 'syncing' && phase.refresh === request) {
    const message = { type: 'token', token } as const;
    return { state: { ...state, phase: { ...phase, refresh: undefined } }, effects: [{ type: 'send', message }] };
  }
  return stay(state);
}

function tokenFailed(state: ConnectionState, request: number, context: ConnectionContext): Transition {
  const { phase } = state;
  if (phase.kind === 'authorizing' && phase.request === request)
    return retry(state, own('CLIENT_AUTH_FAILED'), context);
  if (phase.kind === 'syncing' && phase.refresh === request) {
    // The session goes on until the server ends it; connecting again then asks for a token anew.
    const effects = [{ type: 'report', error: own('CLIENT_AUTH_FAILED') } as const];
    return { state: { ...state, phase: { ...phase, refresh: undefined } }, effects };
  }
  return stay(state);
}

function socketOpened(state: ConnectionState, { nowMs, held }: ConnectionContext): Transition {
  const { phase, distrusted } = state;
  if (phase.kind !== 'opening') return stay(state);
  const claimed = held && distrusted !== 'all' ? { ...held, leftOut: distrusted } : undefined;
  return {
    state: { ...state, phase: { kind: 'greeting', deadlineMs: nowMs + TIMING.greeting, claimed } },
    effects: [{ type: 'send-hello', token: phase.token, distrusted }],
  };
}

/** Ends this connection and tries again after a pause that grows, or never when the code says so. */
function retry(state: ConnectionState, error: ReportedError, context: ConnectionContext): Transition {
  const policy = isCode(error.code) ? definitionOf(error.code).retry : 'retry';
  const effects: ConnectionEffect[] = [...hangUp(state), { type: 'report', error }];
  // A client that is ahead of its server must not go on by itself: what both hold cannot be right (L17).
  if (policy === 'give-up' || error.code === 'CLIENT_AHEAD')
    return { state: { ...state, phase: { kind: 'stopped' } }, effects };
  const attempt = state.attempt + 1;
  const max = policy === 'wait' ? TIMING.backoffWaitMax : TIMING.backoffMax;
  const ceiling = Math.min(max, TIMING.backoffMin * 2 ** Math.min(attempt, 20));
  const untilMs = context.nowMs + ceiling * (0.5 + context.random / 2);
  return { state: { ...state, attempt, phase: { kind: 'waiting', untilMs } }, effects };
}

function timerFired(state: ConnectionState, context: ConnectionContext): Transition {
  const { phase } = state;
  const deadline = deadlineOf(state);
  if (deadline === undefined || context.nowMs < deadline) return stay(state);
  switch (phase.kind) {
    case 'idle':
    case 'stopped':
      return stay(state);
    case 'waiting':
      return authorize(state, context);
    case 'authorizing':
      return retry(state, own('CLIENT_AUTH_FAILED'), context);
    case 'opening':
    case 'greeting':
      return retry(state, own('CLIENT_SERVER_SILENT'), context);
    case 'syncing':
      return phase.pingedAtMs === undefined
        ? ping(state, phase, context)
        : retry(state, own('CLIENT_SERVER_SILENT'), context);
    default:
      return unreachable(phase);
  }
}
function ping(state: ConnectionState, phase: SyncingPhase, { nowMs, random }: ConnectionContext): Transition {
  const message = { type: 'ping', nonce: Math.floor(random * 0xffffffff) } as const;
  return { state: { ...state, phase: { ...phase, pingedAtMs: nowMs } }, effects: [{ type: 'send', message }] };
}

function messageArrived(state: ConnectionState, message: ServerMessage, context: ConnectionContext): Transition {
  if (message.type === 'error') return errorArrived(state, message, context);
  const { phase } = state;
  if (phase.kind === 'greeting') return welcomeArrived(state, phase.claimed, message, context);
  if (phase.kind !== 'syncing') return stay(state);
  const heard: SyncingPhase = { ...phase, heardAtMs: context.nowMs, pingedAtMs: undefined };
  return messageInSession({ ...state, phase: heard }, heard, message, context);
}

function errorArrived(
  state: ConnectionState,
  { code, message, remedy, fatal }: Extract<ServerMessage, { type: 'error' }>,
  context: ConnectionContext,
): Transition {
  const { phase } = state;
  if (phase.kind !== 'greeting' && phase.kind !== 'syncing') return stay(state);
  const error: ReportedError = { kind: 'server', code, message, remedy };
  return fatal ? retry(state, error, context) : { state, effects: [{ type: 'report', error }] };
}

function welcomeArrived(
  state: ConnectionState,
  claimed: Claimed | undefined,
  message: ServerMessage,
  context: ConnectionContext,
): Transition {
  if (message.type !== 'welcome') return outOfOrder(state, 'no welcome', context);
  if (message.version !== PROTOCOL_VERSION) return retry(state, own('CLIENT_VERSION_UNSUPPORTED'), context);
  const { pingIntervalMin, pingIntervalMax } = TIMING;
  const phase: SyncingPhase = {
    kind: 'syncing',
    pingIntervalMs: Math.min(Math.max(message.pingIntervalMs, pingIntervalMin), pingIntervalMax),
    heardAtMs: context.nowMs,
    pingedAtMs: undefined,
    hasSchema: false,
    streams: new Set(),
    claimed,
    open: undefined,
    refresh: undefined,
  };
  return { state: { ...state, phase }, effects: [] };
}

function messageInSession(
  state: ConnectionState,
  phase: SyncingPhase,
  message: Exclude<ServerMessage, { type: 'error' }>,
  context: ConnectionContext,
): Transition {
  switch (message.type) {
    case 'welcome':
      return outOfOrder(state, 'a second welcome', context);
    case 'schema': {
      if (phase.open) return outOfOrder(state, 'a schema inside a checkpoint', context);
      const streams = new Set(message.streams.map(({ stream }) => stream));
      const next = { ...phase, hasSchema: true, streams };
      return { state: { ...state, phase: next }, effects: [{ type: 'announce', schema: message }] };
    }
    case 'checkpoint': {
      const open = openCheckpoint(phase, message);
      if (typeof open === 'string') return outOfOrder(state, open, context);
      const head = headForReplica(message, phase.claimed);
      return { state: { ...state, phase: { ...phase, open } }, effects: [{ type: 'begin', head }] };
    }
    case 'chunk': {
      if (!phase.open?.announced.has(message.no)) return outOfOrder(state, 'a chunk that belongs nowhere', context);
      if (message.payloadBytes > CHUNK_PAYLOAD_BYTES_MAX) return retry(state, own('CLIENT_FRAME_TOO_LARGE'), context);
      return { state, effects: [{ type: 'chunk', chunk: message }] };
    }
    case 'checkpoint-end': {
      const { open } = phase;
      if (!open || open.epoch !== message.epoch || open.lsn !== message.lsn)
        return outOfOrder(state, 'the end of another checkpoint', context);
      const closed = { ...phase, open: undefined };
      return { state: { ...state, phase: closed }, effects: [{ type: 'apply', sums: message.sums }] };
    }
    case 'pong':
      return stay({ ...state, attempt: 0 });
    case 'token-expiring': {
      const request = state.request + 1;
      const refreshing = { ...phase, refresh: request };
      return { state: { ...state, request, phase: refreshing }, effects: [{ type: 'fetch-token', request }] };
    }
    case 'source':
      return { state, effects: [{ type: 'source', source: message }] };
    case 'writes':
      return { state, effects: [{ type: 'writes', writes: message }] };
    case 'upload-result':
      return { state, effects: [{ type: 'upload-result', result: message }] };
    default:
      return unreachable(message);
  }
}

/** The checkpoint if it may be opened, else why not. */
function openCheckpoint(phase: SyncingPhase, head: CheckpointMessage): OpenCheckpoint | string {
  const { claimed } = phase;
  const { epoch, lsn, reset } = head;
  if (!phase.hasSchema) return 'a checkpoint before the schema';
  if (phase.open) return 'a checkpoint inside a checkpoint';
  if ((reset || !claimed) && head.extend.length > 0) return 'a beginning that continues something';
  // A client never goes back (L12); another epoch cannot be compared, so it begins anew.
  if (!reset && claimed && (claimed.epoch !== epoch || lsn < claimed.lsn)) return 'a checkpoint of the past';
  if (claimed && head.extend.some(({ bucket }) => claimed.leftOut.has(bucket))) return 'more of a bucket not held';
  const opened = [...head.replace, ...head.extend];
  const announced = new Set(opened.map(({ no }) => no));
  const buckets = new Set(opened.map(({ bucket }) => bucket));
  if (announced.size !== opened.length || buckets.size !== opened.length) return 'a bucket is announced twice';
  if (head.drop.some((bucket) => buckets.has(bucket))) return 'a bucket is dropped and announced';
  if (opened.length > LIMITS.bucketsMax) return 'too many buckets';
  if (opened.some(({ stream }) => !phase.streams.has(stream))) return 'a bucket of an unknown stream';
  return { epoch, lsn, announced };
}

/** Lets go of what the server does not know of: all of it when nothing was claimed, else the buckets left out. */
function headForReplica(head: CheckpointMessage, claimed: Claimed | undefined): CheckpointMessage {
  if (!claimed) return { ...head, reset: true };
  if (claimed.leftOut.size === 0 || head.reset) return head;
  const named = new Set([...head.drop, ...head.replace.map(({ bucket }) => bucket)]);
  return { ...head, drop: [...head.drop, ...[...claimed.leftOut].filter((bucket) => !named.has(bucket))] };
}

function outOfOrder(state: ConnectionState, reason: string, context: ConnectionContext): Transition {
  return retry(state, own('CLIENT_FRAME_OUT_OF_ORDER', reason), context);
}

function applied(
  state: ConnectionState,
  { epoch, lsn }: Extract<ConnectionEvent, { type: 'applied' }>,
  { nowMs }: ConnectionContext,
): Transition {
  if (state.phase.kind !== 'syncing') return stay(state);
  // Applying blocks this thread, so what the server sent meanwhile has not been heard yet.
  const claimed = { epoch, lsn, leftOut: new Set<BucketId>() };
  const phase: SyncingPhase = { ...state.phase, claimed, heardAtMs: nowMs, pingedAtMs: undefined };
  const message = { type: 'applied', epoch, lsn } as const;
  return {
    state: { ...state, phase, attempt: 0, distrusted: new Set() },
    effects: [{ type: 'send', message }],
  };
}

/** The first time only what did not add up is loaded again, the second time everything. */
function refused(
  state: ConnectionState,
  { code, mismatched }: Extract<ConnectionEvent, { type: 'refused' }>,
  context: ConnectionContext,
): Transition {
  const isSecond = state.distrusted === 'all' || state.distrusted.size > 0;
  const distrusted = mismatched.length === 0 ? state.distrusted : isSecond ? 'all' : new Set(mismatched);
  return retry({ ...state, distrusted }, own(code), context);
}

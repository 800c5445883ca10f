import { compareCheckpoints, type Epoch, type Lsn, MalformedBytesError } from '@sluice/domain';
import { AppError, unreachable } from '@sluice/errors';
import { type ClientMessage, decodeMutations, LIMITS, PROTOCOL_VERSION, type ServerMessage } from '@sluice/protocol';
import {
  type Identity,
  type Now,
  type OpenState,
  type SessionLimits,
  type SessionState,
  slowFromMs,
  type Unapplied,
  type Upload,
  type UploadAnswer,
  type VerifyPurpose,
  type WritesMessage,
} from './state.ts';
import { initialWindow, windowAfterApplied } from './window.ts';

export type SessionEvent =
  | { readonly kind: 'message'; readonly message: ClientMessage }
  /** Input that is no message, or a refusal from outside the protocol. */
  | { readonly kind: 'refused'; readonly error: AppError }
  | { readonly kind: 'verified'; readonly identity: Identity }
  | { readonly kind: 'verify-failed'; readonly error: AppError }
  /** Something of the session's may have changed. */
  | { readonly kind: 'news' }
  | {
      readonly kind: 'step-done';
      readonly sent: { readonly epoch: Epoch; readonly lsn: Lsn; readonly bytes: number } | undefined;
    }
  /** `hasBegun`: part of a checkpoint was sent, so the connection cannot go on. */
  | { readonly kind: 'step-failed'; readonly error: AppError; readonly hasBegun: boolean }
  | { readonly kind: 'source'; readonly message: ServerMessage }
  /** Whether uploads are taken, for the first time or since it changed. */
  | { readonly kind: 'writes'; readonly message: WritesMessage }
  /** Of the uploads that were handed over last. */
  | { readonly kind: 'upload-answered'; readonly answer: UploadAnswer }
  | { readonly kind: 'upload-failed'; readonly error: AppError }
  | { readonly kind: 'heard' }
  | { readonly kind: 'revalidate' }
  | { readonly kind: 'tick' }
  | { readonly kind: 'disconnected' };

export type SessionEffect =
  | { readonly kind: 'verify'; readonly purpose: VerifyPurpose; readonly token: string | undefined }
  /** The session is open: join the project, answer welcome. */
  | { readonly kind: 'join'; readonly identity: Identity }
  /** New claims of the same subject. */
  | { readonly kind: 'take-claims'; readonly identity: Identity }
  | { readonly kind: 'step'; readonly evenIfBare: boolean }
  | { readonly kind: 'send'; readonly message: ServerMessage }
  /** Hand it to the writer, as this user; one at a time. */
  | { readonly kind: 'upload'; readonly uploads: readonly Upload[]; readonly identity: Identity }
  | { readonly kind: 'ping' }
  | { readonly kind: 'close'; readonly error: AppError };

export interface Advance {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The session's protocol: what may come when, and what follows from it. Pure; a driver carries the effects out in order
 * and reports back with events. Once closed, nothing has any effect.
 */
export function advance(state: SessionState, event: SessionEvent, now: Now, limits: SessionLimits): Advance {
  if (state.phase === 'closed') return { state, effects: [] };
  switch (event.kind) {
    case 'message':
      return onMessage({ ...state, lastHeardMs: now.monotonicMs }, event.message, now, limits);
    case 'heard':
      return { state: { ...state, lastHeardMs: now.monotonicMs }, effects: [] };
    case 'refused':
      return closed(state, event.error);
    case 'disconnected':
      return { state: { ...state, phase: 'closed' }, effects: [] };
    case 'verified':
      return onVerified(state, event.identity, now, limits);
    case 'verify-failed':
      return onVerifyFailed(state, event.error, now, limits);
    case 'tick':
      return onTick(state, now, limits);
    case 'news':
    case 'step-done':
    case 'step-failed':
    case 'source':
    case 'writes':
    case 'upload-answered':
    case 'upload-failed':
    case 'revalidate':
      return state.phase === 'open' ? onOpenEvent(state, event, now, limits) : { state, effects: [] };
    default:
      return unreachable(event);
  }
}

type Alive = Exclude<SessionState, { phase: 'closed' }>;

function onMessage(state: Alive, message: ClientMessage, now: Now, limits: SessionLimits): Advance {
  const isFree = isExpectedApplied(state, message) || isExpectedUpload(state, message);
  const paid = isFree ? state : charged(state, now, limits);
  if (paid.allowance < 0) return closed(state, new AppError('PROTOCOL_FLOOD'));
  switch (message.type) {
    case 'ping':
      return { state: paid, effects: [{ kind: 'send', message: { type: 'pong', nonce: message.nonce } }] };
    case 'hello':
      return onHello(paid, message, now, limits);
    case 'token':
      return onToken(paid, message.token);
    case 'applied':
      return onApplied(paid, message, now, limits);
    case 'upload':
      return onUpload(paid, message);
    default:
      return unreachable(message);
  }
}

function onHello(
  state: Alive,
  hello: Extract<ClientMessage, { type: 'hello' }>,
  now: Now,
  limits: SessionLimits,
): Advance {
  if (state.phase !== 'greeting') return closed(state, outOfOrder('a second hello'));
  if (hello.version !== PROTOCOL_VERSION)
    return closed(state, new AppError('PROTOCOL_VERSION', { details: { version: PROTOCOL_VERSION } }));
  if ((hello.resume?.buckets.length ?? 0) > LIMITS.bucketsMax) return closed(state, new AppError('PROTOCOL_TOO_LARGE'));
  return {
    state: {
      ...state,
      phase: 'authenticating',
      deadlineMs: now.monotonicMs + limits.verifyWithinMs,
      hasUuid: UUID.test(hello.clientId),
    },
    effects: [{ kind: 'verify', purpose: 'hello', token: hello.token }],
  };
}

function onToken(state: Alive, token: string): Advance {
  if (state.phase !== 'open') return closed(state, outOfOrder('a token before welcome'));
  if (state.verifying) return { state: { ...state, nextToken: token }, effects: [] };
  return verifying(state, 'token', token);
}

function onApplied(state: Alive, applied: { epoch: Epoch; lsn: Lsn }, now: Now, limits: SessionLimits): Advance {
  if (state.phase !== 'open') return closed(state, outOfOrder('applied before welcome'));
  if (!state.newest || compareCheckpoints(applied, state.newest) > 0)
    return closed(state, new AppError('PROTOCOL_APPLIED_UNSENT'));
  const isDone = (sent: Unapplied): boolean => compareCheckpoints(sent, applied) <= 0;
  const last = state.unapplied.findLast(isDone);
  if (!last) return { state, effects: [] };
  const unapplied = state.unapplied.filter((sent) => !isDone(sent));
  const window = windowAfterApplied(state.window, now.monotonicMs - last.sentAtMs, limits.unappliedMax);
  return stepIfDue({ ...state, unapplied, window, appliedAtMs: now.monotonicMs }, limits);
}

function onUpload(state: Alive, upload: Upload): Advance {
  if (state.phase !== 'open') return closed(state, outOfOrder('an upload before welcome'));
  if (!state.hasUuid) return closed(state, new AppError('PROTOCOL_CLIENT_ID'));
  if (upload.mutations.length > LIMITS.uploadBytesMax) return closed(state, new AppError('PROTOCOL_TOO_LARGE'));
  const problem = uploadProblem(upload);
  if (problem !== undefined) return closed(state, new AppError('PROTOCOL_MALFORMED', { internal: problem }));
  if (state.uploads.length >= LIMITS.uploadsUnansweredMax) return closed(state, new AppError('PROTOCOL_FLOOD'));
  if (state.writes?.state !== 'enabled') {
    const answer: UploadAnswer = { result: 'retry', code: state.writes?.code ?? '', expected: upload.seq };
    return { state, effects: [resultOf(upload, answer)] };
  }
  const waiting = { ...state, uploads: [...state.uploads, upload] };
  return state.uploadsHandedOver > 0 ? { state: waiting, effects: [] } : handOver(waiting);
}

/** The writer reads the payload again; what is no payload at all never gets there. */
function uploadProblem({ seq, refusalsKept, mutations }: Upload): string | undefined {
  if (seq < 1 || refusalsKept >= seq) return 'an impossible number of an upload';
  try {
    decodeMutations(mutations);
    return undefined;
  } catch (error) {
    if (error instanceof MalformedBytesError) return error.message;
    throw error;
  }
}

/** The next ones go once those before are recorded; behind one that is not, all that wait would only be gaps (L15). */
function onUploadAnswered(state: OpenState, answer: UploadAnswer): Advance {
  const { uploads, uploadsHandedOver } = state;
  const recorded =
    answer.result === 'gap' ? [] : uploads.slice(0, uploadsHandedOver).filter(({ seq }) => seq < answer.expected);
  const effects = recorded.map((upload) =>
    resultOf(upload, { result: 'recorded', code: '', expected: upload.seq + 1 }),
  );
  const [failed, ...behind] = uploads.slice(recorded.length);
  if (answer.result === 'recorded') {
    const next = handOver({ ...state, uploads: uploads.slice(recorded.length), uploadsHandedOver: 0 });
    return { state: next.state, effects: [...effects, ...next.effects] };
  }
  if (failed) effects.push(resultOf(failed, answer));
  const gap: UploadAnswer = { result: 'gap', code: '', expected: answer.expected };
  effects.push(...behind.map((upload) => resultOf(upload, gap)));
  return { state: { ...state, uploads: [], uploadsHandedOver: 0 }, effects };
}

function onUploadFailed(state: OpenState, error: AppError): Advance {
  if (error.definition.close !== undefined && error.definition.retry !== 'retry') return closed(state, error);
  const [failed] = state.uploads;
  return onUploadAnswered(state, { result: 'retry', code: error.code, expected: failed?.seq ?? 1 });
}

/** What waits goes together, as far as its numbers follow each other and it is no more than one upload may be. */
function handOver(state: OpenState): Advance {
  const [first] = state.uploads;
  if (!first) return { state, effects: [] };
  let bytes = 0;
  const end = state.uploads.findIndex(({ seq, mutations }, i) => {
    bytes += mutations.length;
    return i > 0 && (seq !== first.seq + i || bytes > LIMITS.uploadBytesMax);
  });
  const uploads = end < 0 ? state.uploads : state.uploads.slice(0, end);
  const effects: SessionEffect[] = [{ kind: 'upload', uploads, identity: state.identity }];
  return { state: { ...state, uploadsHandedOver: uploads.length }, effects };
}
function resultOf({ seq }: Upload, answer: UploadAnswer): SessionEffect {
  return { kind: 'send', message: { type: 'upload-result', seq, ...answer } };
}

function onVerified(state: Alive, identity: Identity, now: Now, limits: SessionLimits): Advance {
  if (state.phase === 'authenticating') return opened(state, identity, now, limits);
  if (state.phase !== 'open') return { state, effects: [] };
  if (identity.subject !== state.identity.subject || identity.project !== state.identity.project)
    return closed(state, new AppError('AUTH_SUBJECT_CHANGED'));
  const isNew = state.verifying === 'token';
  const fresh: OpenState = {
    ...state,
    identity: isNew ? identity : state.identity,
    wasWarned: isNew ? false : state.wasWarned,
    verifying: undefined,
    revalidateDueMs: now.monotonicMs + limits.revalidateMs,
  };
  const effects: SessionEffect[] = isNew ? [{ kind: 'take-claims', identity }] : [];
  return withNextToken(fresh, effects);
}

function onVerifyFailed(state: Alive, error: AppError, now: Now, limits: SessionLimits): Advance {
  if (state.phase !== 'open') return closed(state, error);
  // A key server that is down does not end sessions: their tokens were good, and end by themselves.
  const isTransient = state.verifying === 'revalidate' && error.code === 'AUTH_KEYS_UNAVAILABLE';
  if (!isTransient) return closed(state, error);
  return withNextToken({ ...state, verifying: undefined, revalidateDueMs: now.monotonicMs + limits.revalidateMs }, []);
}

function withNextToken(state: OpenState, effects: readonly SessionEffect[]): Advance {
  if (state.nextToken === undefined) return { state, effects };
  const next = verifying({ ...state, nextToken: undefined }, 'token', state.nextToken);
  return { state: next.state, effects: [...effects, ...next.effects] };
}

function onOpenEvent(
  state: OpenState,
  event: Exclude<
    SessionEvent,
    { kind: 'message' | 'refused' | 'verified' | 'verify-failed' | 'heard' | 'tick' | 'disconnected' }
  >,
  now: Now,
  limits: SessionLimits,
): Advance {
  switch (event.kind) {
    case 'news':
      return stepIfDue({ ...state, hasNews: true }, limits);
    case 'step-done':
      return onStepDone(state, event.sent, now, limits);
    case 'step-failed':
      return onStepFailed(state, event.error, event.hasBegun, now);
    case 'source':
      return { state, effects: [{ kind: 'send', message: event.message }] };
    case 'writes':
      return { state: { ...state, writes: event.message }, effects: [{ kind: 'send', message: event.message }] };
    case 'upload-answered':
      return onUploadAnswered(state, event.answer);
    case 'upload-failed':
      return onUploadFailed(state, event.error);
    case 'revalidate':
      return state.verifying ? { state, effects: [] } : verifying(state, 'revalidate', undefined);
  }
}

function onStepDone(
  state: OpenState,
  sent: { epoch: Epoch; lsn: Lsn; bytes: number } | undefined,
  now: Now,
  limits: SessionLimits,
): Advance {
  const idle = { ...state, isStepping: false, failures: 0, retryDueMs: undefined };
  if (!sent) return stepIfDue(idle, limits);
  idle.bareDueMs = now.monotonicMs + limits.idleCheckpointMs;
  idle.unapplied = [...state.unapplied, { ...sent, sentAtMs: now.monotonicMs }];
  idle.newest = { epoch: sent.epoch, lsn: sent.lsn };
  return stepIfDue(idle, limits);
}

function onStepFailed(state: OpenState, error: AppError, hasBegun: boolean, now: Now): Advance {
  if (hasBegun || error.definition.retry !== 'retry' || error.definition.close !== undefined)
    return closed(state, error);
  const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** state.failures);
  const waiting: OpenState = {
    ...state,
    isStepping: false,
    hasNews: true,
    failures: state.failures + 1,
    retryDueMs: now.monotonicMs + waitMs,
  };
  return { state: waiting, effects: [] };
}

function onTick(state: Alive, now: Now, limits: SessionLimits): Advance {
  if (state.phase !== 'open')
    return now.monotonicMs < state.deadlineMs ? { state, effects: [] } : closed(state, new AppError('HELLO_TIMEOUT'));
  if (now.wallMs >= state.identity.expiresAtMs) return closed(state, new AppError('AUTH_EXPIRED'));
  if (now.monotonicMs - state.lastHeardMs >= limits.silentMs) return closed(state, new AppError('CLIENT_SILENT'));
  const slowAtMs = slowFromMs(state, limits);
  if (slowAtMs !== undefined && now.monotonicMs >= slowAtMs) return closed(state, new AppError('CLIENT_SLOW'));
  const effects: SessionEffect[] = [];
  let next = state;
  if (now.monotonicMs >= next.pingDueMs) {
    effects.push({ kind: 'ping' });
    next = { ...next, pingDueMs: now.monotonicMs + limits.pingIntervalMs };
  }
  const endsInMs = next.identity.expiresAtMs - now.wallMs;
  if (!next.wasWarned && endsInMs <= limits.tokenWarningMs) {
    effects.push({ kind: 'send', message: { type: 'token-expiring', inMs: Math.floor(endsInMs) } });
    next = { ...next, wasWarned: true };
  }
  if (now.monotonicMs >= next.revalidateDueMs) {
    next = { ...next, revalidateDueMs: now.monotonicMs + limits.revalidateMs };
    if (!next.verifying) {
      effects.push({ kind: 'verify', purpose: 'revalidate', token: undefined });
      next = { ...next, verifying: 'revalidate' };
    }
  }
  return onStepTimers(next, effects, now, limits);
}

function onStepTimers(state: OpenState, effects: SessionEffect[], now: Now, limits: SessionLimits): Advance {
  let next = state;
  if (next.retryDueMs !== undefined && now.monotonicMs >= next.retryDueMs) next = { ...next, retryDueMs: undefined };
  if (now.monotonicMs >= next.bareDueMs) {
    next = { ...next, bareDueMs: now.monotonicMs + limits.idleCheckpointMs };
    if (!next.isStepping && !next.hasNews && next.unapplied.length === 0) {
      effects.push({ kind: 'step', evenIfBare: true });
      return { state: { ...next, isStepping: true }, effects };
    }
  }
  const due = stepIfDue(next, limits);
  return { state: due.state, effects: [...effects, ...due.effects] };
}

/** One step at a time; news that comes meanwhile becomes the next one. */
function stepIfDue(state: OpenState, limits: SessionLimits): Advance {
  const { isStepping, hasNews, retryDueMs, unapplied, window } = state;
  if (isStepping || !hasNews || retryDueMs !== undefined) return { state, effects: [] };
  if (unapplied.length >= window.size) return { state, effects: [] };
  const unappliedBytes = unapplied.reduce((sum, sent) => sum + sent.bytes, 0);
  if (unappliedBytes >= limits.unappliedBytesMax) return { state, effects: [] };
  return { state: { ...state, isStepping: true, hasNews: false }, effects: [{ kind: 'step', evenIfBare: false }] };
}

function opened(state: Alive, identity: Identity, now: Now, limits: SessionLimits): Advance {
  const { lastHeardMs, allowance, allowanceAtMs, hasUuid } = state;
  const open: OpenState = {
    phase: 'open',
    lastHeardMs,
    allowance,
    allowanceAtMs,
    hasUuid,
    pingDueMs: now.monotonicMs + limits.pingIntervalMs,
    identity,
    wasWarned: false,
    verifying: undefined,
    nextToken: undefined,
    revalidateDueMs: now.monotonicMs + limits.revalidateMs,
    isStepping: false,
    hasNews: false,
    retryDueMs: undefined,
    failures: 0,
    bareDueMs: now.monotonicMs + limits.idleCheckpointMs,
    unapplied: [],
    appliedAtMs: now.monotonicMs,
    window: { ...initialWindow, size: Math.min(initialWindow.size, limits.unappliedMax) },
    newest: undefined,
    writes: undefined,
    uploads: [],
    uploadsHandedOver: 0,
  };
  return { state: open, effects: [{ kind: 'join', identity }] };
}

function verifying(state: OpenState, purpose: VerifyPurpose, token: string | undefined): Advance {
  return { state: { ...state, verifying: purpose }, effects: [{ kind: 'verify', purpose, token }] };
}

/** An acknowledgement that was waited for costs nothing: a fast stream of checkpoints brings as many of them. */
function isExpectedApplied(state: Alive, message: ClientMessage): boolean {
  if (message.type !== 'applied' || state.phase !== 'open') return false;
  const [oldest] = state.unapplied;
  return oldest !== undefined && compareCheckpoints(message, oldest) >= 0;
}
/** While writes are taken, uploads are bounded by their answers, which the source paces. */
function isExpectedUpload(state: Alive, message: ClientMessage): boolean {
  return message.type === 'upload' && state.phase === 'open' && state.writes?.state === 'enabled';
}
function charged<S extends Alive>(state: S, now: Now, limits: SessionLimits): S {
  const earned = (Math.max(0, now.monotonicMs - state.allowanceAtMs) / 1000) * limits.messagesPerS;
  const allowance = Math.min(limits.messagesBurst, state.allowance + earned) - 1;
  return { ...state, allowance, allowanceAtMs: now.monotonicMs };
}

function outOfOrder(what: string): AppError {
  return new AppError('PROTOCOL_ORDER', { internal: what });
}
function closed(state: Alive, error: AppError): Advance {
  return { state: { ...state, phase: 'closed' }, effects: [{ kind: 'close', error }] };
}

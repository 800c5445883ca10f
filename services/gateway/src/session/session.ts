import { randomUUID } from 'node:crypto';
import { type Clock, MalformedBytesError } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type { ClientMessage, ServerMessage } from '@sluice/protocol';
import { advance, type SessionEffect, type SessionEvent } from './advance.ts';
import {
  type Identity,
  initialState,
  type Now,
  nextDueInMs,
  type SessionLimits,
  type SessionState,
  type Upload,
  type UploadAnswer,
} from './state.ts';

type Hello = Extract<ClientMessage, { type: 'hello' }>;

/** The connection as a session sees it. */
export interface SessionWire {
  send(message: ServerMessage): void;
  ping(): void;
  /** Says why, then closes with the error's close code. */
  close(error: AppError): void;
}
/** A session's part of its project, once it is open. */
export interface SessionProject {
  /** True when the claims entitle to something else than those before. */
  takeClaims(identity: Identity): boolean;
  /** Sends the newest checkpoint, if there is anything to send; calls `onBegin` before the first byte. */
  step(options: { readonly evenIfBare: boolean; readonly onBegin: () => void }): Promise<Sent | undefined>;
  /** Hands uploads to the writer, whose numbers follow each other. */
  upload(uploads: readonly Upload[], identity: Identity): Promise<UploadAnswer>;
  close(): void;
}
type Sent = NonNullable<Extract<SessionEvent, { kind: 'step-done' }>['sent']>;

/** What the session needs from the rest of the service. */
export interface SessionDoors {
  verify(session: Session, project: string, token: string): Promise<Identity>;
  /** Joins the project that `verify` found. Throws an AppError when there is no room. */
  join(session: Session, hello: Hello, identity: Identity): SessionProject;
  onClosed(session: Session, error: AppError | undefined): void;
}

/** Drives one session: carries out what `advance` decides, in order, and feeds it what happens. */
export class Session {
  readonly id = randomUUID();
  private state: SessionState;
  private readonly wire: SessionWire;
  private readonly doors: SessionDoors;
  private readonly clock: Clock;
  private readonly limits: SessionLimits;
  private hello: Hello | undefined;
  private token = '';
  private project: SessionProject | undefined;
  private cancelTick: () => void = () => {};
  private tickDueMs = Number.POSITIVE_INFINITY;
  private readonly queue: SessionEvent[] = [];
  private isAdvancing = false;

  constructor(wire: SessionWire, doors: SessionDoors, clock: Clock, limits: SessionLimits) {
    this.wire = wire;
    this.doors = doors;
    this.clock = clock;
    this.limits = limits;
    this.state = initialState(this.now, limits);
    this.scheduleTick();
  }

  get subject(): string | undefined {
    return this.state.phase === 'open' ? this.state.identity.subject : undefined;
  }
  get isOpen(): boolean {
    return this.state.phase === 'open';
  }

  /** Events that effects cause wait until the effects before them are carried out. */
  dispatch(event: SessionEvent): void {
    this.queue.push(event);
    if (this.isAdvancing) return;
    this.isAdvancing = true;
    try {
      for (let next = this.queue.shift(); next; next = this.queue.shift()) this.advance(next);
    } finally {
      this.isAdvancing = false;
    }
  }

  private advance(event: SessionEvent): void {
    if (event.kind === 'message' && event.message.type === 'hello') this.hello ??= event.message;
    const wasClosed = this.state.phase === 'closed';
    const { state, effects } = advance(this.state, event, this.now, this.limits);
    this.state = state;
    for (const effect of effects) this.carryOut(effect);
    if (state.phase === 'closed' && !wasClosed) this.end(effects);
    else this.scheduleTick();
  }

  private carryOut(effect: SessionEffect): void {
    switch (effect.kind) {
      case 'send':
        this.wire.send(effect.message);
        break;
      case 'ping':
        this.wire.ping();
        break;
      case 'close':
        this.wire.close(effect.error);
        break;
      case 'verify':
        void this.verify(effect.token ?? this.token, effect.token !== undefined);
        break;
      case 'join':
        this.join(effect.identity);
        break;
      case 'take-claims':
        this.takeClaims(effect.identity);
        break;
      case 'step':
        void this.step(effect.evenIfBare);
        break;
      case 'upload':
        void this.upload(effect.uploads, effect.identity);
        break;
    }
  }

  private async verify(token: string, isNew: boolean): Promise<void> {
    try {
      const identity = await this.doors.verify(this, this.hello?.project ?? '', token);
      if (isNew) this.token = token;
      this.dispatch({ kind: 'verified', identity });
    } catch (error) {
      this.dispatch({ kind: 'verify-failed', error: appErrorFrom(error) });
    }
  }

  private join(identity: Identity): void {
    if (!this.hello) return;
    try {
      this.project = this.doors.join(this, this.hello, identity);
      this.dispatch({ kind: 'news' });
    } catch (error) {
      this.dispatch({ kind: 'refused', error: appErrorFrom(error) });
    }
    // The bucket list may be long, and is needed no more.
    this.hello = { ...this.hello, token: '', resume: undefined };
  }

  private takeClaims(identity: Identity): void {
    if (!this.project?.takeClaims(identity)) return;
    // A checkpoint under the former claims is not finished: no byte after this is by them (L13).
    if (this.isStepping)
      this.dispatch({ kind: 'refused', error: new AppError('SESSION_RESTART', { internal: 'claims' }) });
    else this.dispatch({ kind: 'news' });
  }

  private get isStepping(): boolean {
    return this.state.phase === 'open' && this.state.isStepping;
  }

  private async step(evenIfBare: boolean): Promise<void> {
    let hasBegun = false;
    const onBegin = () => {
      hasBegun = true;
    };
    try {
      const sent = await this.project?.step({ evenIfBare, onBegin });
      this.dispatch({ kind: 'step-done', sent });
    } catch (error) {
      this.dispatch({ kind: 'step-failed', error: appErrorFrom(error), hasBegun });
    }
  }

  private async upload(uploads: readonly Upload[], identity: Identity): Promise<void> {
    try {
      const answer = await this.project?.upload(uploads, identity);
      if (answer) this.dispatch({ kind: 'upload-answered', answer });
    } catch (error) {
      this.dispatch({ kind: 'upload-failed', error: appErrorFrom(error) });
    }
  }

  private end(effects: readonly SessionEffect[]): void {
    this.cancelTick();
    this.project?.close();
    this.token = '';
    this.hello = undefined;
    const close = effects.find((effect) => effect.kind === 'close');
    this.doors.onClosed(this, close?.error);
  }

  private get now(): Now {
    return { wallMs: this.clock.nowMs(), monotonicMs: this.clock.monotonicMs() };
  }

  private scheduleTick(): void {
    const now = this.now;
    const dueInMs = nextDueInMs(this.state, now, this.limits);
    if (dueInMs === undefined) return;
    // A timer that comes too early does no harm, and changing one for each message would cost more.
    const dueMs = now.monotonicMs + dueInMs;
    if (dueMs >= this.tickDueMs) return;
    this.cancelTick();
    this.tickDueMs = dueMs;
    this.cancelTick = this.clock.setTimer(Math.max(0, dueInMs), () => {
      this.tickDueMs = Number.POSITIVE_INFINITY;
      this.dispatch({ kind: 'tick' });
    });
  }
}

function appErrorFrom(error: unknown): AppError {
  if (isAppError(error)) return error;
  if (error instanceof MalformedBytesError)
    return new AppError('BUCKET_INCONSISTENT', { internal: error.message, cause: error });
  return new AppError('GATEWAY_FAILED', { cause: error });
}

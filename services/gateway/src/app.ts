import { randomInt } from 'node:crypto';
import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { AppError, assert, type Code } from '@sluice/errors';
import type { WakeUps } from '@sluice/op-queue';
import { PROTOCOL_VERSION } from '@sluice/protocol';
import type { Logger, Metrics } from '@sluice/telemetry';
import type { Uploads } from '@sluice/uploads';
import type { ProjectDirectory } from './authenticate/client-auth.ts';
import { fetchJson } from './authenticate/fetch-jwks.ts';
import { KeySets } from './authenticate/key-sets.ts';
import { TokenVerifier } from './authenticate/verify-token.ts';
import { defaultGatewayConfig, type GatewayConfig } from './config.ts';
import { Admission, type Visit } from './connection/admission.ts';
import { type Wire, wireOf } from './connection/bind-session.ts';
import { type Connection, type Listener, listen } from './connection/listen.ts';
import { SendBudget } from './connection/send-budget.ts';
import { gatewayEvents } from './events.ts';
import { type FairStore, fairStore } from './fair-store.ts';
import { FairTurns } from './fair-turns.ts';
import { ByteLru } from './feed/byte-lru.ts';
import { contentBytes, type FeedCaches, framePageBytes, sharedBytes } from './feed/project-feed.ts';
import type { SourceMessage, StoreReads } from './model.ts';
import { closeRooms, type ProjectRooms, projectRoomsOf } from './project-rooms.ts';
import { Session, type SessionDoors, type SessionProject } from './session/session.ts';
import type { Identity, Upload, UploadAnswer } from './session/state.ts';
import { SyncCursor } from './sync-cursor.ts';
import { WritesWatch } from './upload/writes-watch.ts';

export interface GatewayOptions {
  readonly store: StoreReads;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly directory: ProjectDirectory;
  /** The way to the writer; without it clients are told that all is read-only. */
  readonly uploads?: Uploads | undefined;
  /** What is left out is as in `defaultGatewayConfig`. */
  readonly config: Partial<GatewayConfig>;
}
export interface GatewayStats {
  readonly connections: number;
  readonly sessions: number;
  readonly projects: number;
  readonly buckets: number;
  readonly cacheBytes: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** In send buffers, now and at most so far. */
  readonly sendBytes: number;
  readonly sendBytesPeak: number;
  /** Pages that were read and encoded in turns, and those that wait for theirs. */
  readonly slices: number;
  readonly slicesWaiting: number;
}
export interface Gateway {
  /** `url` is what clients connect to. */
  listen(): Promise<{ url: string; port: number }>;
  /** Sends every client away with code 1012, spread over the drain time, and ends. */
  close(): Promise<void>;
  stats(): GatewayStats;
}

interface Arrival {
  readonly wire: Wire;
  readonly visit: Visit;
}
interface OpenProject {
  readonly rooms: ProjectRooms;
  readonly writes: WritesWatch;
  readonly sessions: Set<Session>;
}

const KEY_SET = { timeoutMs: 5000, bytesMax: 256 * 1024, cooldownMs: 30_000, refreshMs: 120_000, staleMaxMs: 300_000 };
const CLOSE_WITHIN_MS = 2000;
/** Each may hold a few tens of megabytes. */
const REDUCTIONS = { atOnceMax: 4, atOncePerGroupMax: 2 };
/** Fewer than the store's places, so that those who wait for news find one. */
const SLICES = { atOnceMax: 4, atOncePerGroupMax: 3 };
const VERIFICATIONS = { atOnceMax: 64, atOncePerGroupMax: 32 };
const RANDOM_STEPS = 2 ** 32;

export function createGateway(options: GatewayOptions): Gateway {
  return new GatewayApp(options);
}

class GatewayApp implements Gateway {
  private readonly options: GatewayOptions & { readonly config: GatewayConfig };
  private readonly events;
  private readonly verifier: TokenVerifier;
  private readonly caches: FeedCaches;
  private readonly admission: Admission;
  private readonly sendBudget: SendBudget;
  private readonly verifications = new FairTurns(VERIFICATIONS);
  private readonly store: FairStore;
  private readonly connections = new Map<Session, Arrival>();
  private readonly projectOfSession = new Map<Session, ProjectId>();
  private readonly openByProject = new Map<ProjectId, OpenProject>();
  private readonly sessionsByUser = new Map<string, number>();
  private listener: Listener | undefined;
  private isDraining = false;

  constructor(options: GatewayOptions) {
    const { clock, logger, metrics } = options;
    const config = { ...defaultGatewayConfig, ...options.config };
    this.options = { ...options, config };
    this.events = gatewayEvents(logger, metrics);
    const keySets = new KeySets({
      clock,
      ...KEY_SET,
      fetchJson: (url) => fetchJson(url, { ...KEY_SET, allowPrivate: config.allowPrivateKeySets }),
    });
    this.verifier = new TokenVerifier({ clock, keySets, toleranceS: config.tokenToleranceS });
    this.caches = {
      pages: new ByteLru(config.cacheBytes, framePageBytes),
      contents: new ByteLru(config.cacheBytes, contentBytes),
      shared: new ByteLru(config.cacheBytes / 4, sharedBytes),
      reductions: new FairTurns(REDUCTIONS),
      slices: new FairTurns(SLICES),
    };
    const { storeReadsMax } = config;
    const reads = { atOnceMax: storeReadsMax, atOncePerGroupMax: Math.max(1, storeReadsMax - 2) };
    this.store = fairStore(options.store, new FairTurns(reads));
    this.admission = new Admission(config, clock, () => randomInt(RANDOM_STEPS) / RANDOM_STEPS);
    this.sendBudget = new SendBudget({
      processBytesMax: config.sendBytesMax,
      projectBytesMax: config.sendBytesPerProjectMax,
      sessionBytesMax: config.sendBufferPauseBytes,
    });
  }

  async listen(): Promise<{ url: string; port: number }> {
    const { host, port, allowedOrigins, trustedProxies } = this.options.config;
    this.listener = await listen({
      host,
      port,
      allowedOrigins,
      trustedProxies,
      refusalOf: (address) => this.admission.refusalOf(address),
      onConnection: (connection) => this.accept(connection),
      onRefused: (code) => this.events.upgradeRefused(code),
      health: () => (this.isDraining ? 'draining' : undefined),
    });
    this.events.listening(this.listener.port);
    const shownHost = host.includes(':') ? `[${host}]` : host;
    return { url: `ws://${shownHost}:${this.listener.port}/sync`, port: this.listener.port };
  }

  async close(): Promise<void> {
    const { clock, config } = this.options;
    this.isDraining = true;
    this.admission.close();
    await this.listener?.stop();
    const sessions = [...this.connections.keys()];
    this.events.draining(sessions.length);
    const pauseMs = config.drainMs / Math.max(1, sessions.length);
    let owedMs = 0;
    for (const session of sessions) {
      session.dispatch({ kind: 'refused', error: new AppError('GATEWAY_DRAINING') });
      owedMs += pauseMs;
      if (owedMs < 10) continue;
      await delay(clock, owedMs);
      owedMs = 0;
    }
    if (this.connections.size > 0) await this.allGone();
    this.listener?.terminate();
    for (const open of this.openByProject.values()) closeProject(open);
    this.openByProject.clear();
  }

  stats(): GatewayStats {
    const open = [...this.openByProject.values()];
    const { pages, contents, shared, slices } = this.caches;
    return {
      connections: this.connections.size,
      sessions: open.reduce((sum, { sessions }) => sum + sessions.size, 0),
      projects: open.length,
      buckets: open.reduce((sum, { rooms }) => sum + rooms.feed.bucketCount, 0),
      cacheBytes: pages.bytes + contents.bytes + shared.bytes,
      cacheHits: pages.hits + contents.hits,
      cacheMisses: pages.misses + contents.misses,
      sendBytes: this.sendBudget.bytes,
      sendBytesPeak: this.sendBudget.peakBytes,
      slices: slices.given,
      slicesWaiting: slices.waitingCount,
    };
  }

  private whenGone: (() => void) | undefined;
  private allGone(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.setTimer(CLOSE_WITHIN_MS, () => done());
      const done = (): void => {
        cancel();
        this.whenGone = undefined;
        resolve();
      };
      this.whenGone = done;
    });
  }

  private accept(connection: Connection): void {
    const { clock, config } = this.options;
    const visit = this.admission.enter(connection.address);
    const wire: Wire = wireOf({
      connection,
      clock,
      account: this.sendBudget.account(() => {
        const project = this.projectOfSession.get(session);
        return project === undefined ? undefined : String(project);
      }),
      stalledMs: config.sendStalledMs,
      closeWithinMs: CLOSE_WITHIN_MS,
      onMessage: (message) => session.dispatch({ kind: 'message', message }),
      onRefused: (error) => session.dispatch({ kind: 'refused', error }),
      onHeard: () => session.dispatch({ kind: 'heard' }),
      onDisconnected: () => {
        session.dispatch({ kind: 'disconnected' });
        visit.left();
        this.connections.delete(session);
        if (this.connections.size === 0) this.whenGone?.();
      },
    });
    const session: Session = new Session(wire, this.doors, clock, config.session);
    this.connections.set(session, { wire, visit });
  }

  private readonly doors: SessionDoors = {
    verify: (session, ref, token) =>
      this.verifications.run({ group: ref, member: session }, async () => {
        const known = await this.options.directory.projectByRef(ref);
        if (!known) throw new AppError('AUTH_PROJECT_UNKNOWN');
        return { project: known.project, ...(await this.verifier.verify(known.project, known.auth, token)) };
      }),
    join: (session, hello, identity) => this.join(session, hello, identity),
    onClosed: (session, error) => this.leave(session, error),
  };

  private join(
    session: Session,
    hello: Parameters<SessionDoors['join']>[1],
    identity: Parameters<SessionDoors['join']>[2],
  ): SessionProject {
    const { project, subject } = identity;
    // Not the whole hello, which may hold a long list of buckets.
    const client = { clientId: hello.clientId, ref: hello.project };
    this.takePlace(`${project}:${subject}`);
    const arrival = this.connections.get(session);
    assert(arrival, 'a session joins without a connection');
    const { wire, visit } = arrival;
    visit.welcomed();
    const open = this.openProject(project);
    open.sessions.add(session);
    this.projectOfSession.set(session, project);
    this.events.sessionOpened(session.id, project);
    const { pingIntervalMs } = this.options.config.session;
    wire.send({ type: 'welcome', version: PROTOCOL_VERSION, session: session.id, pingIntervalMs });
    const { watch } = open.rooms;
    if (watch.source) wire.send(watch.source);
    if (open.writes.current) session.dispatch({ kind: 'writes', message: open.writes.current });
    const cursor = new SyncCursor(open.rooms, identity.tokenClaims, hello.resume, () =>
      session.dispatch({ kind: 'news' }),
    );
    const sink = {
      send: (frames: readonly Uint8Array[]) => void wire.sendFrames(frames),
      get isReady() {
        return wire.isReady;
      },
      ready: () => wire.ready(),
    };
    return {
      takeClaims: (next) => cursor.replaceClaims(next.tokenClaims),
      step: async (how) => {
        if (how.evenIfBare && !cursor.isBehind) return undefined;
        // Until it takes what it was sent, commits that come become one checkpoint.
        if (!wire.isReady) await wire.ready();
        const startedMs = this.options.clock.monotonicMs();
        const sent = await cursor.next(sink, how);
        if (sent) this.events.checkpointSent(project, sent, this.options.clock.monotonicMs() - startedMs);
        return sent;
      },
      upload: (handed, of) => this.upload(open, client, { handed, identity: of }),
      close: () => {
        cursor.close();
        this.releasePlace(`${project}:${subject}`);
      },
    };
  }

  private async upload(
    { writes }: OpenProject,
    { clientId, ref }: { readonly clientId: string; readonly ref: string },
    { handed, identity }: { readonly handed: readonly Upload[]; readonly identity: Identity },
  ): Promise<UploadAnswer> {
    const { uploads } = this.options;
    if (!uploads) throw new AppError('WRITES_NOT_SERVED');
    const { project, subject, tokenClaims: claims } = identity;
    const [first, last] = [handed[0], handed.at(-1)];
    assert(first && last, 'nothing was handed over');
    const transactions = handed.map(({ mutations }) => mutations);
    const { seq } = first;
    const { refusalsKept } = last;
    const answer = await uploads.write({ project, ref, subject, claims, clientId, seq, refusalsKept, transactions });
    this.events.uploadAnswered(project, answer.result);
    // What kept it from being written may keep all of the project's.
    if (answer.result === 'retry') writes.askAgain();
    return answer;
  }

  private leave(session: Session, error: AppError | undefined): void {
    if (error && isGuess(error)) this.connections.get(session)?.visit.tokenRefused();
    const project = this.projectOfSession.get(session);
    this.projectOfSession.delete(session);
    this.events.sessionClosed(session.id, project, error);
    const open = project === undefined ? undefined : this.openByProject.get(project);
    open?.sessions.delete(session);
    if (project === undefined || !open || open.sessions.size > 0) return;
    closeProject(open);
    this.openByProject.delete(project);
  }

  private openProject(project: ProjectId): OpenProject {
    const known = this.openByProject.get(project);
    if (known) return known;
    const { wakeUps, clock, config } = this.options;
    const sessions = new Set<Session>();
    const tell = (source: SourceMessage) => {
      for (const session of sessions) session.dispatch({ kind: 'source', message: source });
    };
    const rooms = projectRoomsOf({
      project,
      store: this.store,
      wakeUps,
      clock,
      caches: this.caches,
      pollMs: config.pollMs,
      onSource: tell,
      onProjectChanged: () => {
        writes.askAgain();
        for (const session of sessions) session.dispatch({ kind: 'revalidate' });
      },
      onFailure: (error) => this.events.watchFailed(project, error),
    });
    const writes = new WritesWatch({
      uploads: this.options.uploads,
      project,
      clock,
      onChange: (message) => {
        for (const session of sessions) session.dispatch({ kind: 'writes', message });
      },
      onFailure: (error) => this.events.writerFailed(project, error),
    });
    const open = { rooms, writes, sessions };
    this.openByProject.set(project, open);
    return open;
  }

  private takePlace(user: string): void {
    const count = this.sessionsByUser.get(user) ?? 0;
    if (count >= this.options.config.connectionsPerUserMax) throw new AppError('TOO_MANY_CONNECTIONS');
    this.sessionsByUser.set(user, count + 1);
  }
  private releasePlace(user: string): void {
    const count = (this.sessionsByUser.get(user) ?? 1) - 1;
    if (count > 0) this.sessionsByUser.set(user, count);
    else this.sessionsByUser.delete(user);
  }
}

function closeProject({ rooms, writes }: OpenProject): void {
  writes.close();
  closeRooms(rooms);
}

/** Whether a refused token may be somebody's try: not one that was good and has ended, nor keys that are out of reach. */
function isGuess({ code }: AppError): boolean {
  return GUESSES.has(code);
}
const GUESSES: ReadonlySet<Code> = new Set([
  'AUTH_PROJECT_UNKNOWN',
  'AUTH_TOKEN_TOO_LARGE',
  'AUTH_TOKEN_MALFORMED',
  'AUTH_ALGORITHM',
  'AUTH_KEY_UNKNOWN',
  'AUTH_SIGNATURE',
  'AUTH_ISSUER',
  'AUTH_AUDIENCE',
]);

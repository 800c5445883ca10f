import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import type { Clock } from '@sluice/domain';
import { createMemoryWakeUps } from '@sluice/op-queue';
import type { StreamPlan } from '@sluice/sync-rules';
import { createLogger, systemClock } from '@sluice/telemetry';
import { SignJWT } from 'jose';
import { createGateway, type Gateway } from '../app.ts';
import type { ClientAuth } from '../authenticate/client-auth.ts';
import { defaultSessionLimits, type GatewayConfig } from '../config.ts';
import type { SessionLimits } from '../session/state.ts';
import { ModelSource } from './model-source.ts';

export const secret = new TextEncoder().encode('a secret of more than thirty-two bytes');

export interface TokenOptions {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly lifeS?: number;
  readonly key?: Uint8Array;
  readonly algorithm?: string;
  /** Default: the machine's time. */
  readonly nowMs?: number;
}
export function tokenFor(subject: string, options: TokenOptions = {}): Promise<string> {
  const nowS = Math.floor((options.nowMs ?? systemClock.nowMs()) / 1000);
  return new SignJWT({ ...options.claims, sub: subject, iat: nowS, exp: nowS + (options.lifeS ?? 3600) })
    .setProtectedHeader({ alg: options.algorithm ?? 'HS256' })
    .sign(options.key ?? secret);
}

/** A gateway on a free port over a memory store with a model source, and what was logged. */
export async function gatewayStack(
  options: {
    config?: Partial<GatewayConfig>;
    session?: Partial<SessionLimits>;
    auth?: Partial<ClientAuth>;
    clock?: Clock;
    begin?: boolean;
    plan?: StreamPlan;
    /** What the gateway reads through; the source writes to the store under it. */
    readsThrough?: (store: BucketStore) => BucketStore;
  } = {},
) {
  const clock = options.clock ?? systemClock;
  const store = createMemoryBucketStore(clock);
  const wakeUps = createMemoryWakeUps();
  const source = new ModelSource({ store, wakeUps, clock, plan: options.plan });
  if (options.begin !== false) await source.begin();
  const log: string[] = [];
  const destination = { write: (line: string) => void log.push(line) };
  let auth: ClientAuth = {
    algorithms: ['HS256'],
    maxTokenAgeSeconds: 86_400,
    keys: { kind: 'hs256', secret },
    ...options.auth,
  };
  const gateway: Gateway = createGateway({
    store: options.readsThrough?.(store) ?? store,
    wakeUps,
    clock,
    logger: createLogger({ service: 'gateway', level: 'debug', clock, destination }),
    directory: {
      projectByRef: async (ref) => (ref === 'demo' ? { project: source.project, auth } : undefined),
    },
    config: { drainMs: 0, ...options.config, session: { ...defaultSessionLimits, ...options.session } },
  });
  const { url } = await gateway.listen();
  return {
    gateway,
    url,
    store,
    wakeUps,
    source,
    log,
    setAuth(next: Partial<ClientAuth>) {
      auth = { ...auth, ...next };
      wakeUps.publish({ kind: 'project', project: source.project });
    },
  };
}
export type GatewayStack = Awaited<ReturnType<typeof gatewayStack>>;

import { type BucketStore, createMemoryBucketStore } from '@sluice/bucket-store';
import type { ProjectId } from '@sluice/domain';
import { createMemoryWakeUps } from '@sluice/op-queue';
import { createLogger, systemClock } from '@sluice/telemetry';
import { waitFor } from '@sluice/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { createGateway, type Gateway } from './app.ts';
import { secret, tokenFor } from './testing/gateway-stack.ts';
import { ModelSource } from './testing/model-source.ts';
import { doc } from './testing/sessions.ts';
import { SocketClient } from './testing/socket-client.ts';

const LARGE_DOCS = 160;
const LARGE_BODY_BYTES = 40_000;

/** Holds back the chunks of one project, and counts. */
class ProjectGate {
  readonly held: (() => void)[] = [];
  readonly readsByProject = new Map<ProjectId, number>();
  holds: ProjectId | undefined;

  over(store: BucketStore): BucketStore {
    return {
      ...store,
      readChunks: async (project, request) => {
        this.readsByProject.set(project, (this.readsByProject.get(project) ?? 0) + 1);
        if (project === this.holds) await new Promise<void>((resolve) => this.held.push(resolve));
        return store.readChunks(project, request);
      },
    };
  }
  release(): void {
    this.holds = undefined;
    for (const resolve of this.held.splice(0)) resolve();
  }
}

let gateway: Gateway | undefined;
afterEach(async () => {
  await gateway?.close();
});

/** Two projects, `busy` and `calm`, behind one gateway. */
async function twoTenants() {
  const gate = new ProjectGate();
  const store = createMemoryBucketStore(systemClock);
  const wakeUps = createMemoryWakeUps();
  const shared = { store, wakeUps, clock: systemClock };
  const busy = new ModelSource({ ...shared, project: 1 });
  const calm = new ModelSource({ ...shared, project: 2 });
  await busy.begin();
  await calm.begin();
  const auth = { algorithms: ['HS256'], maxTokenAgeSeconds: 86_400, keys: { kind: 'hs256' as const, secret } };
  gateway = createGateway({
    store: gate.over(store),
    wakeUps,
    clock: systemClock,
    logger: createLogger({ service: 'gateway', level: 'error', clock: systemClock }),
    directory: { projectByRef: async (ref) => ({ project: ref === 'busy' ? busy.project : calm.project, auth }) },
    config: { drainMs: 0 },
  });
  const { url } = await gateway.listen();
  const connect = async (project: string, user: string): Promise<SocketClient> => {
    const client = new SocketClient(url);
    await client.hello(await tokenFor(user), { project });
    return client;
  };
  return { gate, busy, calm, gateway, connect };
}
const randomText = (bytes: number): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(bytes / 2))).toString('hex');

/** Commits a bucket of several pages for the user. */
async function fill(source: ModelSource, user: string, firstId: number): Promise<void> {
  const docs = Array.from({ length: LARGE_DOCS }, (_, i) => doc(firstId + i, user, randomText(LARGE_BODY_BYTES)));
  for (let i = 0; i < docs.length; i += 20) await source.commit(docs.slice(i, i + 20));
}

describe('fairness between tenants', () => {
  it('L16: first syncs of one tenant, none of which gets on, do not keep a change from another tenant’s client', async () => {
    const { gate, busy, calm, connect } = await twoTenants();
    for (let user = 0; user < 12; user++) await busy.commit([doc(user, `user-${user}`)]);
    const live = await connect('calm', 'ann');
    await live.untilMessage('checkpoint-end');
    gate.holds = busy.project;
    const clients = await Promise.all(Array.from({ length: 12 }, (_, user) => connect('busy', `user-${user}`)));
    await waitFor(() => gate.held.length > 0, { what: 'the first syncs to be stuck' });
    const before = gate.readsByProject.get(busy.project) ?? 0;
    const lsn = await calm.commit([doc(1, 'ann')]);
    await live.untilLsn(lsn);
    // Not one read of the busy tenant ended, and it has not taken the places that it left.
    expect(gate.held.length).toBe(gate.readsByProject.get(busy.project));
    expect((gate.readsByProject.get(busy.project) ?? 0) - before).toBeLessThanOrEqual(6);
    gate.release();
    for (const client of clients) await client.untilMessage('checkpoint-end');
  }, 30_000);

  it('L16: a large first sync of another tenant is served while every page of the busy one is stuck', async () => {
    const { gate, busy, calm, connect } = await twoTenants();
    for (let user = 0; user < 4; user++) await fill(busy, `user-${user}`, user * 1000);
    await fill(calm, 'ann', 0);
    gate.holds = busy.project;
    const clients = await Promise.all(Array.from({ length: 4 }, (_, user) => connect('busy', `user-${user}`)));
    await waitFor(() => gate.held.length > 0, { what: 'the first syncs to be stuck' });
    const large = await connect('calm', 'ann');
    await large.untilMessage('checkpoint-end');
    expect(large.replica.rows()).toHaveLength(LARGE_DOCS);
    gate.release();
    for (const client of clients) await client.untilMessage('checkpoint-end');
    expect(clients.map((client) => client.replica.rows().length)).toEqual(clients.map(() => LARGE_DOCS));
  }, 60_000);

  it('L16: a first sync leaves the event loop to others at least once a page', async () => {
    const { busy, gateway, connect } = await twoTenants();
    await fill(busy, 'ann', 0);
    let turns = 0;
    let isCounting = true;
    const count = (): void => {
      turns++;
      if (isCounting) setImmediate(count);
    };
    const before = gateway.stats().slices;
    setImmediate(count);
    const client = await connect('busy', 'ann');
    await client.untilMessage('checkpoint-end');
    isCounting = false;
    const slices = gateway.stats().slices - before;
    // Read twice, since it is too large to be held: once to find what is live, once to send it.
    expect(slices).toBeGreaterThanOrEqual(6);
    expect(turns).toBeGreaterThanOrEqual(slices);
  }, 30_000);
});

import { createMemoryOpQueue, createMemoryWakeUps, type Frame, type OpQueue } from '@sluice/op-queue';
import { query, type SeededRandom, waitFor } from '@sluice/testkit';
import { CodedTroubles } from '../oracle/coded-troubles.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import type { RunningScenario, ScenarioServers } from './scenarios.ts';

const TABLES_SQL = `
create table notes (id int primary key, body text not null);
alter table notes replica identity full;
insert into notes select i, 'note ' || i from generate_series(1, 50) i;
`;
const STREAMS = [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes' }];
/** Each of the transactions below ends a frame. */
const FRAME_BYTES_MAX = 1024;
const TRANSACTIONS = 6;

/**
 * L3, L4: a replicator's frames stick somewhere until another one has taken its place and divided the rows among two shards.
 * When they come after all, they go on from what is applied, but hold the rows of both shards: the store refuses them.
 */
export async function staleFrames({ storeUrl }: ScenarioServers): Promise<RunningScenario> {
  const queue = new StickyQueue();
  const stack = await startStack({
    queues: { queue, wakeUps: createMemoryWakeUps() },
    tuning: { frameBytesMax: FRAME_BYTES_MAX },
    storeCluster: { url: storeUrl },
  });
  return {
    run: (random, name) => history(stack, queue, random, name),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

async function history(stack: Stack, queue: StickyQueue, random: SeededRandom, ref: string): Promise<void> {
  const tenant = await stack.addTenant({ ref, tablesSql: TABLES_SQL, streams: STREAMS });
  try {
    const client = await tenant.connect('ana');
    const troubles = new CodedTroubles();
    troubles.watch(client);
    await tenant.expectEqual(client);
    queue.stick();
    for (let i = 0; i < TRANSACTIONS; i++)
      await tenant.source.commit(
        `insert into notes select 1000 + ${i} * 100 + i, repeat('new ', ${random.int(10, 40)}) from generate_series(1, 20) i`,
        `delete from notes where id = ${random.int(1, 50)}`,
      );
    await waitFor(() => queue.stuck.length >= TRANSACTIONS, { what: 'the frames to be stuck' });
    const { dataPlane } = stack;
    await dataPlane.stopProject(tenant.project);
    queue.hold();
    dataPlane.startProject(tenant.project);
    await reshardFirst(stack, tenant, queue);
    await troubles.during(() => tenant.expectEqual(client));
  } finally {
    queue.flow();
    await stack.removeTenant(tenant);
  }
}

/** The map changes behind the first frame of the new replicator, and what was stuck comes before the second one. */
async function reshardFirst({ dataPlane }: Stack, { source, project }: Tenant, queue: StickyQueue): Promise<void> {
  const positionOf = async (): Promise<string> =>
    (await query<{ lsn: string }>(source.url, 'select pg_current_wal_insert_lsn()::text lsn'))[0]?.lsn ?? '';
  await waitFor(() => queue.held > 0, { what: 'the new replicator to publish' });
  const before = await positionOf();
  const resharding = dataPlane.replicator.reshard(project, 2);
  // It has been asked for when its heartbeat is written.
  await waitFor(async () => (await positionOf()) !== before, { what: 'the heartbeat of the change' });
  queue.pourBefore((frame) => frame.mapVersion > 1);
  await resharding;
}

/** A queue whose frames may stick, be held up, and come late. */
class StickyQueue implements OpQueue {
  readonly #queue = createMemoryOpQueue({ bytesMaxPerShard: 16 << 20 });
  #mode: 'flows' | 'sticks' | 'holds' = 'flows';
  #isTime: (frame: Extract<Frame, { kind: 'stream' }>) => boolean = () => false;
  #waiting: (() => void)[] = [];
  stuck: Frame[] = [];

  /** How many frames are held up. */
  get held(): number {
    return this.#waiting.length;
  }
  /** From here on frames get no further, though whoever publishes them is told that they did. */
  stick(): void {
    this.#mode = 'sticks';
    this.stuck = [];
  }
  /** From here on whoever publishes waits. */
  hold(): void {
    this.#mode = 'holds';
  }
  flow(): void {
    this.#mode = 'flows';
    for (const go of this.#waiting.splice(0)) go();
  }
  /** Lets frames go, and what was stuck before the first of which it is true. */
  pourBefore(isTime: (frame: Extract<Frame, { kind: 'stream' }>) => boolean): void {
    this.#isTime = isTime;
    this.flow();
  }

  async publish(frame: Frame, signal: AbortSignal): Promise<void> {
    if (this.#mode === 'sticks' && frame.kind === 'stream') {
      this.stuck.push({ ...frame, changes: frame.changes.slice() });
      return;
    }
    if (this.#mode === 'holds') await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.stuck.length > 0 && frame.kind === 'stream' && this.#isTime(frame)) {
      for (const stuck of this.stuck.splice(0)) await this.#queue.publish(stuck, signal);
      this.#isTime = () => false;
    }
    await this.#queue.publish(frame, signal);
  }
  take(...args: Parameters<OpQueue['take']>): ReturnType<OpQueue['take']> {
    return this.#queue.take(...args);
  }
  isEmpty(...args: Parameters<OpQueue['isEmpty']>): ReturnType<OpQueue['isEmpty']> {
    return this.#queue.isEmpty(...args);
  }
  clear(...args: Parameters<OpQueue['clear']>): ReturnType<OpQueue['clear']> {
    return this.#queue.clear(...args);
  }
}

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Lsn } from '@sluice/domain';
import pg from 'pg';
import { createDatabase, startPlatform } from '../processes/platform.ts';
import { BENCH_RULES_YAML } from '../source/bench-tables.ts';
import { endOfLoad, type Followed, PROJECT, startBenchDataPlane, startBenchServer, untilCheckpoint } from '../stack.ts';
import { bringSlotsUpToDate, checkRowCount, createBareSlot, drainBare, dropBareSlot, endWalsender } from './backlog.ts';
import type { Load } from './loads.ts';

/** The data planes that are compared; their processes share two servers, one for the source and one for all stores. */
export const PLANES = {
  inProcess: undefined,
  redis: { shards: 1, workers: 1 },
  redis4: { shards: 4, workers: 2 },
} as const;
export type PlaneName = keyof typeof PLANES;
export type Turn = PlaneName | 'bare';

/** What one turn at a backlog took. The baseline's processor time is not counted. */
export interface Drain {
  readonly durationMs: number;
  /** Of replicator, workers and what joins them; not of the servers. */
  readonly cpuMs: number;
}

/** A data plane with a slot of its own, which can be made to stand still. */
interface Plane extends Followed {
  readonly storeUrl: string;
  readonly slot: string;
  pause(): Promise<void>;
  resume(): void;
  cpuMs(): Promise<number>;
}

const SLOT_POLL_MS = 2;
const TOKEN_SECRET = 'the clients of this bench do not connect to anything';

/** One source that three data planes follow, each through a slot of its own, so that all read the same WAL. */
export class Site implements AsyncDisposable {
  readonly #opened: AsyncDisposable[] = [];
  readonly #planes = new Map<PlaneName, Plane>();
  readonly #source: pg.Client;
  readonly #sourceUrl: string;
  #rows = 0;

  private constructor(sourceUrl: string, source: pg.Client) {
    this.#sourceUrl = sourceUrl;
    this.#source = source;
  }

  static async start(tablesSql: string): Promise<Site> {
    const home = await mkdtemp(path.join(tmpdir(), 'sluice-bench-'));
    await chmod(home, 0o755); // The servers may run as another account.
    const [sourceServer, storeServer] = await Promise.all([
      startBenchServer(home, 'source'),
      startBenchServer(home, 'store'),
    ]);
    const source = new pg.Client({ connectionString: sourceServer.url });
    const site = new Site(sourceServer.url, source);
    site.#defer(() => rm(home, { recursive: true, force: true }));
    site.#opened.push(storeServer, sourceServer);
    await source.connect();
    site.#defer(() => source.end());
    await source.query(tablesSql);
    await site.#addInProcess(storeServer.url);
    await site.#addPlatform('redis', storeServer.url);
    await site.#addPlatform('redis4', storeServer.url);
    return site;
  }

  /** Commits the load while nothing reads; then everybody drains it, in another order each round. */
  async round(round: number, { count, run }: Load): Promise<Record<Turn, Drain>> {
    const planes = [...this.#planes.values()];
    await bringSlotsUpToDate(this.#source, planes);
    for (const plane of planes) await plane.pause();
    await createBareSlot(this.#source);
    await run(this.#source, this.#rows + 1, count);
    this.#rows += count;
    const end = await endOfLoad(this.#source);
    await this.#source.query('checkpoint');
    const drains = new Map<Turn, Drain>();
    for (const turn of turnsOf(round)) drains.set(turn, await this.#drain(turn, end));
    await dropBareSlot(this.#source);
    for (const plane of planes) await checkRowCount(plane.storeUrl, this.#rows);
    for (const plane of planes) plane.resume();
    return Object.fromEntries(drains) as Record<Turn, Drain>; // Every turn was taken.
  }

  async #drain(turn: Turn, end: Lsn): Promise<Drain> {
    const plane = turn === 'bare' ? undefined : this.#planes.get(turn);
    if (!plane) return { durationMs: await drainBare(this.#source, this.#sourceUrl, end), cpuMs: 0 };
    const reached = untilCheckpoint(plane, end);
    plane.resume();
    await this.#untilStreamed(plane.slot);
    const [startMs, cpuBeforeMs] = [performance.now(), await plane.cpuMs()];
    await reached;
    const [durationMs, cpuMs] = [performance.now() - startMs, (await plane.cpuMs()) - cpuBeforeMs];
    await plane.pause();
    return { durationMs, cpuMs };
  }

  /** Timed is the draining alone: not how soon a process that stood still takes its lease again. */
  async #untilStreamed(slot: string): Promise<void> {
    for (;;) {
      const found = await this.#source.query({
        name: 'streamed',
        text: 'select 1 from pg_replication_slots where slot_name = $1 and active',
        values: [slot],
      });
      if (found.rowCount === 1) return;
      await new Promise((resolve) => setTimeout(resolve, SLOT_POLL_MS));
    }
  }

  async #addInProcess(serverUrl: string): Promise<void> {
    const storeUrl = await createDatabase(serverUrl, 'in_process_store');
    const tokenSecret = Buffer.from(TOKEN_SECRET);
    const plane = await startBenchDataPlane({ sourceUrl: this.#sourceUrl, storeUrl, tokenSecret });
    const { dataPlane } = plane;
    this.#opened.push(plane);
    dataPlane.startProject(PROJECT);
    await plane.deploy(BENCH_RULES_YAML);
    const followed = { project: PROJECT, dataPlane };
    this.#planes.set('inProcess', {
      ...followed,
      storeUrl,
      slot: await slotOf(followed),
      pause: () => dataPlane.stopProject(PROJECT),
      resume: () => dataPlane.startProject(PROJECT),
      cpuMs: async () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1000;
      },
    });
  }

  async #addPlatform(name: 'redis' | 'redis4', serverUrl: string): Promise<void> {
    const platform = await startPlatform({
      ...PLANES[name],
      serverUrl,
      name,
      hasGateway: false,
      sourceUrl: this.#sourceUrl,
      rulesYaml: BENCH_RULES_YAML,
      tokenSecret: TOKEN_SECRET,
    });
    this.#opened.push(platform);
    const slot = await slotOf(platform);
    this.#planes.set(name, {
      ...platform,
      slot,
      pause: async () => {
        platform.replicator.freeze();
        await endWalsender(this.#source, slot);
      },
      resume: () => platform.replicator.thaw(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opened of this.#opened.reverse()) await opened[Symbol.asyncDispose]();
  }

  #defer(close: () => Promise<unknown>): void {
    this.#opened.push({
      async [Symbol.asyncDispose]() {
        await close();
      },
    });
  }
}

/** Nobody is always first, when the servers' caches are cold, nor last. */
function turnsOf(round: number): Turn[] {
  const turns: Turn[] = ['bare', 'inProcess', 'redis', 'redis4'];
  const first = round % turns.length;
  return [...turns.slice(first), ...turns.slice(0, first)];
}

async function slotOf({ dataPlane, project }: Followed): Promise<string> {
  const source = await dataPlane.store.readSource(project);
  if (!source?.serving) throw new Error('the project is not served');
  return source.serving.identity.slot;
}

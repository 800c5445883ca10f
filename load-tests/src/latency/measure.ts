import { createClient, type SluiceClient } from '@sluice/node';
import { SignJWT } from 'jose';
import pg from 'pg';
import { median, quantile } from '../measure/statistics.ts';
import { AUDIENCE, ISSUER } from '../stack.ts';
import { SHARED_ITEM } from './items.ts';

/**
 * From before COMMIT is sent to committed in the client's SQLite. The clients, real SDK cores, share this process with the
 * writer.
 */
const CHANGES_PER_SECOND = 100;
const WARM_UP_CHANGES = 100;
const COMMITS = 300;
const CLIENT_COUNTS = [1, 50, 200] as const;
const SHARING_CLIENTS = 200;
/** A change that has not arrived by then ends the bench: a lost change is not a slow one. */
const ARRIVAL_MS_MAX = 30_000;

/** Where a data plane is and how its clients prove who they are. */
export interface LatencyTarget {
  readonly sourceUrl: string;
  readonly gatewayUrl: string;
  readonly projectRef: string;
  /** base64 */
  readonly tokenSecret: string;
}
/** Milliseconds by name: p50 and p99 for each number of clients. */
export type LatencyFigures = Readonly<Record<string, number>>;

interface Follower {
  readonly client: SluiceClient;
  /** The item that this client watches. */
  readonly item: number;
  /** Versions that were sent and have not arrived. */
  readonly waiting: Map<number, number>;
}

/** Changes rows of one source and sees them arrive. */
export class LatencyBench {
  readonly #target: LatencyTarget;
  readonly #changes: number;
  readonly #writer: pg.Client;
  #version = 0;

  /** @param changes how many are measured for each number of clients */
  constructor(target: LatencyTarget, changes: number) {
    this.#target = target;
    this.#changes = changes;
    this.#writer = new pg.Client({ connectionString: target.sourceUrl });
  }

  async connect(): Promise<this> {
    await this.#writer.connect();
    return this;
  }
  async close(): Promise<void> {
    await this.#writer.end();
  }

  async round(): Promise<LatencyFigures> {
    const figures: Record<string, number> = {};
    for (const count of CLIENT_COUNTS) {
      const latencies = await this.#measure(count, false);
      figures[`p50Ms${count}`] = median(latencies);
      figures[`p99Ms${count}`] = quantile(latencies, 0.99);
    }
    const shared = await this.#measure(SHARING_CLIENTS, true);
    figures[`sharedP50Ms${SHARING_CLIENTS}`] = median(shared);
    figures[`sharedP99Ms${SHARING_CLIENTS}`] = quantile(shared, 0.99);
    return figures;
  }

  /** What the source's own commit takes at the median, milliseconds. */
  async commitP50Ms(): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < COMMITS; i++) {
      await this.#change(i % SHARING_CLIENTS);
      const startMs = performance.now();
      await this.#writer.query('commit');
      times.push(performance.now() - startMs);
    }
    return median(times);
  }

  async #measure(count: number, shared: boolean): Promise<number[]> {
    const latencies: number[] = [];
    const followers = await this.#followers(count, shared, latencies);
    await this.#sendChanges(followers, shared, WARM_UP_CHANGES);
    latencies.length = 0;
    await this.#sendChanges(followers, shared, shared ? Math.ceil(this.#changes / 5) : this.#changes);
    await Promise.all(followers.map((follower) => follower.client.close()));
    return latencies;
  }

  /** Connects clients; `shared` puts all of them in one bucket, else each has its own. */
  async #followers(count: number, shared: boolean, latencies: number[]): Promise<Follower[]> {
    const { gatewayUrl: url, projectRef: project } = this.#target;
    return Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const user = shared ? 'shared' : `user-${index}`;
        const client = await createClient({ url, project, auth: () => this.#token(user) });
        const follower: Follower = { client, item: shared ? SHARED_ITEM : index, waiting: new Map() };
        client.live<{ id: number; version: number }>('select id, version from items', [], (rows) => {
          const nowMs = performance.now();
          for (const row of rows)
            for (const [sent, atMs] of follower.waiting)
              if (row.version >= sent) {
                latencies.push(nowMs - atMs);
                follower.waiting.delete(sent);
              }
        });
        client.connect();
        await client.ready();
        return follower;
      }),
    );
  }

  /** Sends changes at a steady pace and resolves when all have arrived at everybody they concern. */
  async #sendChanges(followers: readonly Follower[], shared: boolean, count: number): Promise<void> {
    const startMs = performance.now();
    for (let i = 0; i < count; i++) {
      const waitMs = startMs + (i * 1000) / CHANGES_PER_SECOND - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const target = followers[i % followers.length];
      if (!target) throw new RangeError('no clients');
      const version = await this.#change(target.item);
      const sentMs = performance.now();
      for (const follower of shared ? followers : [target]) follower.waiting.set(version, sentMs);
      await this.#writer.query('commit');
    }
    const deadlineMs = performance.now() + ARRIVAL_MS_MAX;
    while (followers.some((follower) => follower.waiting.size > 0)) {
      if (performance.now() > deadlineMs) throw new Error('a change did not arrive');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Changes the item in a transaction that it leaves open; answers the item's version. */
  async #change(item: number): Promise<number> {
    const version = ++this.#version;
    await this.#writer.query('begin');
    const text = 'update items set version = $1 where id = $2';
    await this.#writer.query({ name: 'change', text, values: [version, item] });
    return version;
  }

  #token(user: string): Promise<string> {
    return new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user)
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(Buffer.from(this.#target.tokenSecret, 'base64'));
  }
}

/** The median of each figure over the rounds. */
export function medians(rounds: readonly LatencyFigures[]): LatencyFigures {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((round) => round[name] ?? Number.NaN))]));
}

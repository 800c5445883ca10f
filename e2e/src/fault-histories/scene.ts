import type { SeededRandom, TcpProxy } from '@sluice/testkit';
import { query, waitFor } from '@sluice/testkit';
import type { PrefixCheck } from '../oracle/prefix-check.ts';
import type { Customer } from '../processes/customer.ts';
import type { Platform } from '../processes/platform.ts';
import type { ServiceProcess } from '../processes/service-process.ts';
import type { RandomStatements } from '../random/random-statements.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { FaultStage } from './fault-stage.ts';

/** One user's device, behind a link of its own. */
export interface Device {
  readonly client: SyncClient;
  readonly link: TcpProxy;
}

/** A process that holds a lease on the customer. */
export type Holder = 'replicator' | 'bucket-worker';

export interface SceneParts {
  readonly stage: FaultStage;
  readonly customer: Customer;
  readonly check: PrefixCheck;
  readonly random: SeededRandom;
  readonly statements: RandomStatements;
  /** Shards of the customer. */
  readonly shards: number;
}

/** One history as its faults see it. */
export class Scene {
  readonly stage: FaultStage;
  readonly platform: Platform;
  readonly customer: Customer;
  readonly check: PrefixCheck;
  readonly random: SeededRandom;
  readonly shards: number;
  readonly devices: Device[] = [];
  /** What happened so far, for a failing history to print. */
  readonly trail: string[] = [];
  /** Nobody can commit just now. */
  isSourceDown = false;
  commits = 0;
  readonly #statements: RandomStatements;

  constructor({ stage, customer, check, random, statements, shards }: SceneParts) {
    this.stage = stage;
    this.platform = stage.platform;
    this.customer = customer;
    this.check = check;
    this.random = random;
    this.shards = shards;
    this.#statements = statements;
  }

  note(what: string): void {
    this.trail.push(`-- ${new Date().toISOString()} ${what}`);
  }

  /** One random transaction, or the given one. */
  async commit(statements: readonly string[] = this.#statements.transaction()): Promise<void> {
    if (this.isSourceDown) return;
    this.trail.push(`begin; ${statements.join('; ')}; commit;`);
    await this.check.commit(...statements);
    this.commits++;
  }

  async commitSome(min: number, max: number): Promise<void> {
    for (let left = this.random.int(min, max); left > 0; left--) await this.commit();
  }

  /**
   * Does something while commits are on their way to the clients; resolves to how many were: with the workers stopped for a
   * moment, frames that wait for them; otherwise the commit right before, if the store did not hold it after.
   */
  async inFlight(act: () => Promise<unknown>): Promise<number> {
    return this.random.chance(0.6) ? this.whileHeld(act) : this.rightAfterCommit(act);
  }

  /**
   * Stops the workers, for less than their leases live, until so many frames wait for them, and acts. Resolves to how many frames
   * waited.
   */
  async whileHeld(act: () => Promise<unknown>, framesMin = 1): Promise<number> {
    const workers = await this.workers();
    this.note('workers stop for a moment');
    for (const worker of workers) worker.signal('SIGSTOP');
    try {
      await this.commitSome(2, 4);
      await this.#untilFramesWait(1);
      // Commits that come together are one frame.
      while (!this.isSourceDown && (await this.framesWaiting()) < framesMin) {
        const before = await this.framesWaiting();
        await this.commit();
        await this.#untilFramesWait(before + 1);
      }
      const waiting = await this.framesWaiting();
      this.note(`${waiting} frames wait`);
      await act();
      return waiting;
    } finally {
      for (const worker of workers) worker.signal('SIGCONT');
    }
  }

  #untilFramesWait(count: number): Promise<unknown> {
    const what = 'frames to wait for the workers';
    return waitFor(async () => (await this.framesWaiting()) >= count, { what, timeoutMs: 30_000 });
  }

  /** Resolves to 1 when the store did not hold the commit when it was done. */
  async rightAfterCommit(act: () => Promise<unknown>): Promise<number> {
    const { source } = this.customer;
    const before = await source.writer.query<{ lsn: string }>(
      "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text as lsn",
    );
    const statements = [this.#statements.bulkInsert(), ...this.#statements.transaction()];
    this.trail.push(`begin; ${statements.join('; ')}; commit;`);
    await source.commit(...statements);
    this.commits++;
    await act();
    const applied = await this.#appliedLsn();
    await this.check.look();
    return applied < BigInt(before.rows[0]?.lsn ?? 0) ? 1 : 0;
  }

  async #appliedLsn(): Promise<bigint> {
    const [row] = await query<{ lsn: string | null }>(
      this.platform.storeUrl,
      `select min(s.applied_lsn)::text as lsn from sluice_store.shard s join sluice_store.project p using (project)
       where s.project = $1 and s.epoch = p.serving_epoch`,
      [this.customer.project],
    );
    return BigInt(row?.lsn ?? 0);
  }

  shardNumbers(): readonly number[] {
    return Array.from({ length: this.shards }, (_, shard) => shard);
  }

  /** The processes that hold shards of the customer. */
  async workers(): Promise<ServiceProcess[]> {
    const holders = await Promise.all(this.shardNumbers().map((shard) => this.platform.workerOf(this.customer, shard)));
    return [...new Set(holders)];
  }

  /** Of a shard's holders the one of `shard`. */
  holder(name: Holder, shard = this.anyShard()): Promise<ServiceProcess> {
    return name === 'replicator'
      ? this.platform.replicatorOf(this.customer)
      : this.platform.workerOf(this.customer, shard);
  }
  anyShard(): number {
    return this.random.int(0, this.shards - 1);
  }

  /** Grows with each lease on the source, or on any of its shards, that is taken. */
  async leaseToken(name: Holder): Promise<bigint> {
    const sql =
      name === 'replicator'
        ? 'select lease_token::text as token from sluice_store.project where project = $1'
        : 'select sum(token)::text as token from sluice_store.shard_lease where project = $1';
    const [row] = await query<{ token: string }>(this.platform.storeUrl, sql, [this.customer.project]);
    return BigInt(row?.token ?? 0);
  }

  framesKey(shard: number): string {
    return `sluice:{${this.customer.project}:${shard}}:frames`;
  }

  async framesWaiting(): Promise<number> {
    const { redis } = this.platform;
    const lengths = await Promise.all(this.shardNumbers().map((shard) => redis.command('XLEN', this.framesKey(shard))));
    return lengths.reduce<number>((sum, length) => sum + Number(length), 0);
  }

  /** Clients that do not show the last commit. */
  async behind(): Promise<number> {
    const { tick } = this.customer.source;
    const ticks = await Promise.all(
      this.devices.map(({ client }) => client.sdk.query<{ n: number }>('select n from ticks').catch(() => [])),
    );
    return ticks.filter(([row]) => (row?.n ?? -1) < tick).length;
  }

  async servingEpoch(): Promise<number> {
    const [row] = await query<{ epoch: number }>(
      this.platform.storeUrl,
      'select serving_epoch as epoch from sluice_store.project where project = $1',
      [this.customer.project],
    );
    return row?.epoch ?? 0;
  }
}

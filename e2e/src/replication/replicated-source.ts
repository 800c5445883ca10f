import { inflateRawSync } from 'node:zlib';
import {
  type BucketStore,
  bucketIdOf,
  createMemoryBucketStore,
  type SourceRecord,
  type StreamRecord,
} from '@sluice/bucket-store';
import { createBucketWorker } from '@sluice/bucket-worker';
import { ByteReader, type CellValue, type Lsn, parseLsn, parseProjectId, readCell } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { createMemoryOpQueue, createMemoryWakeUps, type OpQueue, type WakeUps } from '@sluice/op-queue';
import { CODEC_DEFLATE_RAW, forEachOp, OP_PUT } from '@sluice/protocol';
import {
  createReplicator,
  type DeployProgress,
  type Replicator,
  type ReplicatorOptions,
  type SourceConnection,
  sourceConnectionFromUrl,
} from '@sluice/replicator';
import { type Catalog, type CompiledRules, parseAndCompile, type StreamPlan } from '@sluice/sync-rules';
import { createLogger, type LogLevel, systemClock } from '@sluice/telemetry';
import { type ArmedFault, faultPoints, query, waitFor } from '@sluice/testkit';

export const project = parseProjectId(7);
/** A worker that stands still is replaced after so long, milliseconds. */
const workerLeaseTtlMs = 3_000;
export const heartbeatMs = 300;
/** Raise it to `debug` to see what a failing test did. */
const logLevel: LogLevel = 'error';

/** One source, and a replicator and a bucket worker that a test can stop, kill and start again over a lasting store. */
export class ReplicatedSource implements AsyncDisposable {
  readonly store: BucketStore;
  readonly faults = faultPoints();
  readonly progress: DeployProgress[] = [];
  queue: OpQueue = createMemoryOpQueue({ bytesMaxPerShard: 32 << 20 });
  wakeUps: WakeUps = createMemoryWakeUps();
  replicator: Replicator;
  rulesText = '';
  private servingText = '';
  readonly url: string;
  private readonly options: Partial<ReplicatorOptions>;
  private readonly crashes: ArmedFault[] = [];
  private stopAll = new AbortController();
  private running: Promise<unknown> = Promise.resolve();

  constructor(url: string, options: Partial<ReplicatorOptions> & { store?: BucketStore } = {}) {
    this.url = url;
    this.options = options;
    this.store = options.store ?? createMemoryBucketStore(systemClock);
    this.replicator = this.newReplicator();
  }

  /** What of the connection is other than the URL says: a proxy's port, a wrong password. */
  via: Partial<SourceConnection> = {};

  get connection(): SourceConnection {
    return { ...sourceConnectionFromUrl(this.url), ...this.via };
  }

  /** Starts both halves; what was stopped before goes on from the store. */
  start(parts: { readonly worker?: boolean } = {}): void {
    this.stopAll = new AbortController();
    const { signal } = this.stopAll;
    const shared = { store: this.store, queue: this.queue, wakeUps: this.wakeUps, clock: systemClock };
    const worker = createBucketWorker({ ...shared, logger: logger(), leaseTtlMs: workerLeaseTtlMs });
    this.running = Promise.all([
      this.replicator.run(project, signal),
      parts.worker === false ? undefined : worker.runProject(project, signal),
    ]);
  }

  async stop(): Promise<void> {
    this.stopAll.abort();
    const closing = this.replicator.close();
    for (const fault of this.crashes.splice(0)) fault.fail(new Error('crashed here'));
    this.faults.releaseAll();
    await Promise.all([closing, this.running]);
  }

  /** Arms a place at which the replicator stands until it is stopped, and then does not go on. */
  crashAt(step: string, options: { readonly skip?: number } = {}): ArmedFault {
    const fault = this.faults.arm(step, options);
    this.crashes.push(fault);
    return fault;
  }

  /** As a crash of the process: queue, wake-ups and everything in memory are gone; the store stays. */
  async restart(parts: { readonly worker?: boolean } = {}): Promise<void> {
    await this.stop();
    this.queue = createMemoryOpQueue({ bytesMaxPerShard: 32 << 20 });
    this.wakeUps = createMemoryWakeUps();
    this.replicator = this.newReplicator();
    this.start(parts);
  }

  async deploy(rulesText: string): Promise<void> {
    this.rulesText = rulesText;
    const rules = await this.compile();
    await this.replicator.deploy(project, { rules, rulesVersion: 1 }, (progress) => this.progress.push(progress));
    this.servingText = rulesText;
  }

  /** The rules that somebody else has deployed for what is in the store. */
  adopt(rulesText: string): void {
    this.rulesText = rulesText;
    this.servingText = rulesText;
  }

  async compile(): Promise<CompiledRules> {
    const result = await parseAndCompile(this.rulesText, await this.replicator.readCatalog(this.connection));
    if (result.kind !== 'ok') throw new Error(result.diagnostics.map(({ message }) => message).join('\n'));
    return result.rules;
  }

  /** As the control plane would: the rules that were deployed last, compiled against the catalog as it is now. */
  private async deployedRules(catalog: Catalog): Promise<CompiledRules | undefined> {
    if (this.servingText === '') return undefined;
    const result = await parseAndCompile(this.servingText, catalog);
    if (result.kind === 'ok') return result.rules;
    throw new AppError('SCHEMA_CHANGED', { internal: result.diagnostics.map(({ message }) => message).join() });
  }

  sql(text: string, parameters?: readonly unknown[]): Promise<readonly Record<string, unknown>[]> {
    return query(this.url, text, parameters ? [...parameters] : undefined);
  }

  async source(): Promise<SourceRecord> {
    const record = await this.store.readSource(project);
    if (!record) throw new Error('the project has no source yet');
    return record;
  }

  /** Waits until everything committed so far is in a checkpoint. */
  async caughtUp(): Promise<void> {
    const [row] = await this.sql('select pg_current_wal_insert_lsn()::text as lsn');
    const lsn = parseLsn(String(row?.lsn));
    await waitFor(
      async () => {
        await this.replicator.heartbeat(project);
        return ((await this.store.readCheckpoint(project))?.lsn ?? 0n) >= lsn;
      },
      { what: 'a checkpoint at the end of the source', timeoutMs: 30_000 },
    );
  }

  /** Rows of a stream without parameters at the current checkpoint, as values in the order of the client's columns. */
  async rows(streamName: string): Promise<CellValue[][]> {
    const through = (await this.store.readCheckpoint(project))?.lsn;
    const stream = await this.visibleStream(streamName);
    if (through === undefined) throw new Error('no checkpoint');
    return this.rowsOf(stream, through);
  }

  async visibleStream(name: string): Promise<StreamRecord> {
    const epoch = (await this.source()).serving?.epoch;
    const found = (await this.store.readStreams(project)).filter(
      (stream) => stream.name === name && stream.epoch === epoch && stream.visibleAfter !== undefined,
    );
    const stream = found.find(({ droppedAfter }) => droppedAfter === undefined);
    if (!stream) throw new Error(`no stream ${name}`);
    return stream;
  }

  /** Waits until the stream holds what the query gives, by key; the source may be idle meanwhile. */
  async shows(streamName: string, sql: string): Promise<void> {
    await waitFor(
      async () => {
        await this.replicator.heartbeat(project);
        const expected = (await this.sql(sql)).map((row) => Object.values(row));
        return sorted(await this.rows(streamName)) === sorted(expected);
      },
      { what: `${streamName} to show ${sql}`, timeoutMs: 30_000 },
    );
  }

  private async rowsOf(stream: StreamRecord, through: Lsn): Promise<CellValue[][]> {
    const plan = stream.plan as StreamPlan;
    const bucket = bucketIdOf(stream.stream, 0, '');
    const byKey = new Map<string, CellValue[]>();
    let cursor: string | undefined;
    do {
      const page = await this.store.readChunks(project, {
        buckets: [{ stream: stream.stream, bucket }],
        after: 0n as Lsn,
        through,
        bytesMax: 8 << 20,
        cursor,
      });
      for (const chunk of page.chunks) {
        const payload = chunk.codec === CODEC_DEFLATE_RAW ? inflateRawSync(chunk.payload) : chunk.payload;
        forEachOp(payload, (kind, start, end) => {
          const reader = new ByteReader(payload, start, end);
          const cells: CellValue[] = [];
          while (reader.remaining > 0) cells.push(readCell(reader));
          const key = JSON.stringify(cells.slice(0, plan.table.keyColumns), (_, cell) =>
            typeof cell === 'bigint' ? String(cell) : cell,
          );
          if (kind === OP_PUT) byKey.set(key, cells);
          else byKey.delete(key);
        });
      }
      cursor = page.next;
    } while (cursor !== undefined);
    const { rows } = (await this.store.readSums(project, [{ stream: stream.stream, bucket }], through)).get(bucket) ?? {
      rows: 0,
    };
    if (rows !== byKey.size) throw new Error(`the bucket's total says ${rows} rows, its chunks give ${byKey.size}`);
    return [...byKey.values()];
  }

  private newReplicator(): Replicator {
    return createReplicator({
      store: this.store,
      queue: this.queue,
      wakeUps: this.wakeUps,
      clock: systemClock,
      logger: logger(),
      sourceOf: async () => this.connection,
      compileRules: (_project, catalog) => this.deployedRules(catalog),
      heartbeatMs,
      faultPoint: this.faults.point,
      ...this.options,
      tuning: { leaseTtlMs: 2000, lookAgainMs: 300, reconnectMaxMs: 500, ...this.options.tuning },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.store.close();
  }
}

function sorted(rows: readonly (readonly unknown[])[]): string {
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .join('\n');
}

function logger(): ReturnType<typeof createLogger> {
  return createLogger({ service: 'test', level: logLevel, clock: systemClock });
}

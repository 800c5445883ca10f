import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createDataPlane, type DataPlane } from '@sluice/all-in-one';
import { type Lsn, type ProjectId, parseLsn, parseProjectId } from '@sluice/domain';
import { type PostgresServer, startPostgres } from '@sluice/embedded-postgres';
import { sourceConnectionFromUrl } from '@sluice/replicator';
import { type CompiledRules, parseAndCompile } from '@sluice/sync-rules';
import { createLogger, systemClock } from '@sluice/telemetry';
import pg from 'pg';

export const PROJECT_REF = 'bench';
export const ISSUER = 'bench';
export const AUDIENCE = 'sluice';
export const PROJECT = parseProjectId(1);

/** A source, a store and the data plane between them, all with fsync and synchronous_commit on. */
export interface BenchStack extends Followed, AsyncDisposable {
  readonly source: pg.Client;
  readonly sourceUrl: string;
  readonly storeUrl: string;
  readonly dataPlane: DataPlane;
  readonly gatewayUrl: string;
  readonly tokenSecret: Uint8Array;
}

const POLL_MS = 500;

/** Makes the source's tables, starts everything, deploys the rules and waits until they are live. */
export async function startBenchStack(tablesSql: string, rulesYaml: string): Promise<BenchStack> {
  const home = await mkdtemp(path.join(tmpdir(), 'sluice-bench-'));
  await chmod(home, 0o755); // The servers may run as another account.
  const [sourceServer, storeServer] = await Promise.all([
    startBenchServer(home, 'source'),
    startBenchServer(home, 'store'),
  ]);
  const sourceUrl = sourceServer.url;
  const source = new pg.Client({ connectionString: sourceUrl });
  await source.connect();
  await source.query(tablesSql);
  const tokenSecret = randomBytes(32);
  const plane = await startBenchDataPlane({ sourceUrl, storeUrl: storeServer.url, tokenSecret });
  const { dataPlane } = plane;
  const { url: gatewayUrl } = await dataPlane.gateway.listen();
  dataPlane.startProject(PROJECT);
  await plane.deploy(rulesYaml);
  return {
    project: PROJECT,
    source,
    sourceUrl,
    storeUrl: storeServer.url,
    dataPlane,
    gatewayUrl,
    tokenSecret,
    async [Symbol.asyncDispose]() {
      await plane[Symbol.asyncDispose]();
      await source.end();
      await Promise.all([sourceServer.stop(), storeServer.stop()]);
      await rm(home, { recursive: true, force: true });
    },
  };
}

export interface BenchDataPlane extends AsyncDisposable {
  readonly dataPlane: DataPlane;
  /** Compiles the rules against the source and deploys them to the one project. */
  deploy(rulesYaml: string): Promise<void>;
}

/** A data plane with one project, which is not started yet, over servers that run. */
export async function startBenchDataPlane(options: {
  readonly sourceUrl: string;
  readonly storeUrl: string;
  readonly tokenSecret: Uint8Array;
}): Promise<BenchDataPlane> {
  const { sourceUrl, storeUrl, tokenSecret } = options;
  let deployed: CompiledRules | undefined;
  const dataPlane = await createDataPlane({
    storeUrl,
    clock: systemClock,
    logger: createLogger({ service: 'bench', level: 'warn', clock: systemClock }),
    sourceOf: () => Promise.resolve(sourceConnectionFromUrl(sourceUrl)),
    rulesOf: () => Promise.resolve(deployed),
    directory: {
      projectByRef: (ref) =>
        Promise.resolve(
          ref === PROJECT_REF
            ? {
                project: PROJECT,
                auth: {
                  issuer: ISSUER,
                  audience: AUDIENCE,
                  algorithms: ['HS256'],
                  maxTokenAgeSeconds: 86_400,
                  keys: { kind: 'hs256' as const, secret: tokenSecret },
                },
              }
            : undefined,
        ),
    },
    gateway: { connectionsPerUserMax: 1000, drainMs: 0 },
    heartbeatMs: 10_000,
    onProjectStopped: (_project, error) => {
      console.error('the project stopped', error);
      process.exit(1);
    },
  });
  return {
    dataPlane,
    async deploy(rulesYaml) {
      const catalog = await dataPlane.replicator.readCatalog(sourceConnectionFromUrl(sourceUrl));
      const compiled = await parseAndCompile(rulesYaml, catalog);
      if (compiled.kind === 'invalid')
        throw new Error(`the bench's rules do not compile: ${JSON.stringify(compiled.diagnostics)}`);
      await dataPlane.replicator.deploy(PROJECT, { rules: compiled.rules, rulesVersion: 1 }, () => {});
      deployed = compiled.rules;
      dataPlane.projectChanged(PROJECT);
    },
    [Symbol.asyncDispose]: () => dataPlane.close(),
  };
}

/** With fsync, in a folder of its own under `home`. */
export function startBenchServer(home: string, name: string): Promise<PostgresServer> {
  return startPostgres({
    dataDir: path.join(home, name),
    superuser: 'postgres',
    password: randomBytes(16).toString('hex'),
    settings: {
      wal_level: 'logical',
      fsync: true,
      synchronous_commit: true,
      max_replication_slots: 20,
      max_wal_senders: 20,
      shared_buffers: '256MB',
      max_wal_size: '8GB',
      checkpoint_timeout: '30min',
      max_connections: 60,
    },
  });
}

/** Ends a load: the LSN that every commit so far is below, with one more commit above it. */
export async function endOfLoad(source: pg.Client): Promise<Lsn> {
  const result = await source.query('select pg_current_wal_insert_lsn()::text as lsn');
  await source.query("select pg_logical_emit_message(true, 'sluice', 'heartbeat')");
  return parseLsn(String(result.rows[0]?.lsn));
}

/** A project whose checkpoints can be waited for. */
export interface Followed {
  readonly project: ProjectId;
  readonly dataPlane: Pick<DataPlane, 'store' | 'wakeUps'>;
}

/** Resolves when a checkpoint at or above `lsn` is durable and readable. */
export async function untilCheckpoint(followed: Followed, lsn: Lsn): Promise<void> {
  const { store, wakeUps } = followed.dataPlane;
  await new Promise<void>((resolve) => {
    const unsubscribe = wakeUps.subscribe(followed.project, (wakeUp) => {
      if (wakeUp.kind === 'checkpoint' && wakeUp.checkpoint.lsn >= lsn) finish();
    });
    // A wake-up is a hint; the store is asked as well, rarely enough not to disturb what is measured.
    const poll = setInterval(() => {
      void store.readCheckpoint(followed.project).then((checkpoint) => {
        if (checkpoint && checkpoint.lsn >= lsn) finish();
      });
    }, POLL_MS);
    function finish(): void {
      clearInterval(poll);
      unsubscribe();
      resolve();
    }
  });
}

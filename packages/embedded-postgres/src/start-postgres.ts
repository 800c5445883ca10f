import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { type Binaries, preparedBinaries } from './binaries.ts';
import { createCluster, isCluster } from './create-cluster.ts';
import { PostgresStartError } from './errors.ts';
import { freePort } from './free-port.ts';
import { isSameSettings, readLaunchRecord, writeLaunchRecord } from './launch-record.ts';
import { poll } from './poll.ts';
import { postmasterFilePath, readPostmasterFile } from './postmaster-file.ts';
import { isAlive, isPostmasterOf, killPostmaster, stopPostmaster } from './postmaster-process.ts';
import { privateFolder } from './private-folder.ts';
import { type Account, isReachableByAll, serverAccount } from './run-as.ts';
import { serverEnvironment } from './server-environment.ts';

/** Where a start stands, for a progress line. */
export type StartStage =
  | 'preparing-binaries'
  | 'creating-cluster'
  | 'adopting'
  | 'stopping-orphan'
  | 'starting'
  | 'ready';

export interface PostgresOptions {
  /** Made when missing. Root gets another one when the server's account cannot reach it: see `PostgresServer.dataDir`. */
  readonly dataDir: string;
  /** A free one is chosen when not given. */
  readonly port?: number;
  /** Server settings by name, as `-c name=value` would take them. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Takes effect when the cluster is made; later starts must give the same. */
  readonly superuser: string;
  readonly password: string;
  /** An unpacked package of another version than the one that is installed; the cluster keeps to its major. */
  readonly packageFolder?: string;
  readonly onProgress?: (stage: StartStage) => void;
}

export interface PostgresServer extends AsyncDisposable {
  /** As the superuser, on the database `postgres`. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Where the cluster really is. */
  readonly dataDir: string;
  /** True when a server that an earlier process left behind was taken over. */
  readonly isAdopted: boolean;
  /** Ends it in order, with a checkpoint; harmless when it is gone. */
  stop(): Promise<void>;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
}

/** After a crash the server replays its WAL before it is ready, which may take a while. */
const readyTimeoutMs = 120_000;
/** Children of a killed postmaster hold its shared memory for about a second. */
const busyTimeoutMs = 10_000;
const bindAttemptsMax = 5;

/**
 * Starts the server of `dataDir` on 127.0.0.1 only, making the cluster first when there is none. A server that a killed
 * process of ours left running is taken over when it runs with the same settings (and port, if one is given), else it is
 * stopped in order and started anew. One whose owner is alive is never touched. Throws `PostgresStartError`.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const report = options.onProgress ?? (() => {});
  const account = await serverAccount();
  const dataDir = await reachableDataDir(options.dataDir, account);
  const settings = settingTexts(options.settings ?? {});
  const context: StartContext = { options, account, dataDir, settings };

  const adopted = await takeOver(context, report);
  if (adopted) return adopted;

  report('preparing-binaries');
  const binaries = await preparedBinaries(account, options.packageFolder);
  if (!isCluster(dataDir)) {
    report('creating-cluster');
    const { superuser, password } = options;
    await createCluster({ binaries, account, dataDir, superuser, password, isThrowAway: settings.fsync === 'off' });
  }
  report('starting');
  const server = await launch(context, binaries);
  report('ready');
  return server;
}

interface StartContext {
  readonly options: PostgresOptions;
  readonly account: Account | undefined;
  readonly dataDir: string;
  readonly settings: Readonly<Record<string, string>>;
}

async function reachableDataDir(wanted: string, account: Account | undefined): Promise<string> {
  const dataDir = resolve(wanted);
  if (!account || (await isReachableByAll(dataDir))) return dataDir;
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  return join(await privateFolder(), `data-${name}`);
}

function settingTexts(settings: NonNullable<PostgresOptions['settings']>): Record<string, string> {
  const text = (value: string | number | boolean): string =>
    typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, text(value)]));
}

/** Deals with whatever runs on the data folder already: a server to use, or undefined and nothing runs there any more. */
async function takeOver(
  context: StartContext,
  report: (stage: StartStage) => void,
): Promise<PostgresServer | undefined> {
  const { dataDir, settings, options } = context;
  const file = await readPostmasterFile(dataDir);
  if (!file) return undefined;
  if (!(await isPostmasterOf(file.pid, dataDir))) {
    // A crash left the file; its process id may name somebody else's process by now, at which the server would balk.
    await rm(postmasterFilePath(dataDir), { force: true });
    return undefined;
  }
  const record = await readLaunchRecord(dataDir);
  if (record && isAlive(record.ownerPid)) {
    throw new PostgresStartError(`${dataDir} is in use: process ${record.ownerPid} runs its server (pid ${file.pid})`);
  }
  const isWanted =
    record !== undefined &&
    isSameSettings(record.settings, settings) &&
    (options.port === undefined || options.port === file.port);
  if (isWanted && file.port !== undefined && (await answers(urlOf(options, file.port)))) {
    report('adopting');
    await writeLaunchRecord(dataDir, { ownerPid: process.pid, settings });
    return serverHandle(context, { pid: file.pid, port: file.port, isAdopted: true });
  }
  report('stopping-orphan');
  await stopPostmaster(file.pid, dataDir);
  return undefined;
}

/**
 * Stops the server of `dataDir` if the process that answered for it is gone. True when nothing runs there any more; false
 * when its owner is alive, and nothing was touched.
 */
export async function stopAbandoned(dataDir: string): Promise<boolean> {
  const file = await readPostmasterFile(dataDir);
  if (!file || !(await isPostmasterOf(file.pid, dataDir))) return true;
  const record = await readLaunchRecord(dataDir);
  if (record && isAlive(record.ownerPid)) return false;
  await stopPostmaster(file.pid, dataDir);
  return true;
}

/** Removes a cluster and all its data, stopping an abandoned server first. False when its owner is alive; nothing was touched. */
export async function removeCluster(dataDir: string): Promise<boolean> {
  const real = await reachableDataDir(dataDir, await serverAccount());
  if (!(await stopAbandoned(real))) return false;
  await rm(real, { recursive: true, force: true });
  return true;
}

async function launch(context: StartContext, binaries: Binaries): Promise<PostgresServer> {
  for (let attempt = 1; ; attempt += 1) {
    const port = context.options.port ?? (await freePort());
    // Undefined means that a killed predecessor's children still hold on; polling tries again until they are gone.
    const outcome = await poll(() => launchOnce(context, binaries, port), busyTimeoutMs);
    if (outcome === undefined) {
      throw new PostgresStartError(`${context.dataDir} is still held by processes of a killed server`);
    }
    if (typeof outcome === 'number') return serverHandle(context, { pid: outcome, port, isAdopted: false });
    if (context.options.port !== undefined || attempt === bindAttemptsMax) {
      throw new PostgresStartError(`port ${port} is taken`);
    }
  }
}

/** The process id of a server that is ready, `port-taken`, or undefined when a predecessor is not quite gone. */
async function launchOnce(
  context: StartContext,
  binaries: Binaries,
  port: number,
): Promise<number | 'port-taken' | undefined> {
  const { account, dataDir, settings } = context;
  // A file, not a pipe: the server may outlive us, and a broken pipe would then be its problem. Each start begins anew.
  const logPath = join(dataDir, 'sluice-server.log');
  const log = await open(logPath, 'w', 0o600);
  // Its own process group: Ctrl-C in a terminal must reach us alone, or the server would be gone before its users.
  const child = spawn(binaries.postgres, serverArguments(dataDir, port, settings), {
    cwd: '/',
    env: serverEnvironment(),
    stdio: ['ignore', log.fd, log.fd],
    detached: process.platform !== 'win32',
    ...account,
  });
  let failure: 'exited' | Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  child.once('exit', () => {
    failure ??= 'exited';
  });
  const ready = async (): Promise<'ready' | 'exited' | Error | undefined> => {
    const file = await readPostmasterFile(dataDir);
    return file?.isReady && file.pid === child.pid ? 'ready' : failure;
  };
  const state = await poll(ready, readyTimeoutMs);
  await log.close();
  if (state === 'ready' && child.pid !== undefined) {
    await writeLaunchRecord(dataDir, { ownerPid: process.pid, settings });
    return child.pid;
  }
  child.kill('SIGQUIT');
  const said = await readFile(logPath, 'utf8').catch(() => '');
  if (state === 'exited' && /shared memory block .* is still in use|lock file .* already exists/.test(said))
    return undefined;
  if (state === 'exited' && /could not bind|could not create any TCP\/IP sockets/.test(said)) return 'port-taken';
  throw new PostgresStartError('the server did not become ready', { serverLog: said.slice(-4096), cause: state });
}

function serverArguments(dataDir: string, port: number, settings: StartContext['settings']): string[] {
  const fixed = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' };
  const all = Object.entries({ ...settings, ...fixed });
  return ['-D', dataDir, ...all.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

function serverHandle(
  context: StartContext,
  server: { pid: number; port: number; isAdopted: boolean },
): PostgresServer {
  const { dataDir, options } = context;
  const stop = (): Promise<void> => stopPostmaster(server.pid, dataDir);
  return {
    ...server,
    dataDir,
    url: urlOf(options, server.port),
    stop,
    kill: () => killPostmaster(server.pid, dataDir),
    [Symbol.asyncDispose]: stop,
  };
}

function urlOf(options: PostgresOptions, port: number): string {
  const login = `${encodeURIComponent(options.superuser)}:${encodeURIComponent(options.password)}`;
  return `postgres://${login}@127.0.0.1:${port}/postgres`;
}

/** A process id proves nothing (a zombie still has one): only an answered query does. */
async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 3_000, query_timeout: 3_000 });
  // A server that goes away later must not crash us through an unheard event.
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

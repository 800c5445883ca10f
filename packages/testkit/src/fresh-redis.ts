import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import { testConfig } from './config.ts';
import { redisCommand } from './redis-command.ts';
import { waitFor } from './wait-for.ts';

export interface FreshRedis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Processor time that it has used so far, milliseconds. */
  cpuMs(): Promise<number>;
  /** Runs one command and gives its reply: a text, a number, undefined for nothing. Lists are not read. @throws Error that Redis answered with */
  command(...args: readonly (string | number)[]): Promise<string | number | undefined>;
  /** Ends it as a crash would: everything in it is gone. */
  kill(): Promise<void>;
  /** Starts it again, empty, on the same port; after `kill`. */
  restart(): Promise<void>;
}

/** A Redis server of the test's own on 127.0.0.1, in memory only; `args` are further options of redis-server. */
export async function freshRedis(args: readonly string[] = []): Promise<FreshRedis> {
  const { redisServer } = testConfig();
  if (!redisServer) throw new Error('no redis-server: run `npm run setup-tools`');
  const folder = await mkdtemp(join(tmpdir(), 'sluice-redis-'));
  const port = await freePort();
  const fixed = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const start = async (): Promise<ChildProcess> => {
    const started = spawn(redisServer, [...fixed, ...args], { stdio: 'ignore' });
    const isUp = (): boolean | Promise<boolean> => started.exitCode !== null || answersPing(port);
    await waitFor(isUp, { what: `redis-server on port ${port}` }).catch((error: unknown) => {
      started.kill('SIGKILL');
      throw error;
    });
    if (started.exitCode !== null) throw new Error(`redis-server ended with ${started.exitCode}`);
    return started;
  };
  let server = await start();
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill(signal);
    await ended;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    cpuMs: () => usedCpuMs(port),
    command: (...args) => redisCommand(port, args.map(String)),
    kill: () => end('SIGKILL'),
    async restart() {
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** One that asks for a password answers, too. */
async function answersPing(port: number): Promise<boolean> {
  return await redisCommand(port, ['PING']).then(
    (reply) => reply === 'PONG',
    (error: unknown) => error instanceof Error && error.message.startsWith('NOAUTH'),
  );
}

async function usedCpuMs(port: number): Promise<number> {
  const info = String(await redisCommand(port, ['INFO', 'cpu']));
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  return (seconds('used_cpu_sys') + seconds('used_cpu_user')) * 1000;
}

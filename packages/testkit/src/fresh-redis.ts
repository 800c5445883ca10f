import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@sluice/embedded-postgres';
import { testConfig } from './config.ts';
import { waitFor } from './wait-for.ts';

export interface FreshRedis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Processor time that it has used so far, milliseconds. */
  cpuMs(): Promise<number>;
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
  return /^(\+PONG|-NOAUTH)/.test(await ask(port, 'PING'));
}

async function usedCpuMs(port: number): Promise<number> {
  const info = await ask(port, 'INFO cpu');
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  return (seconds('used_cpu_sys') + seconds('used_cpu_user')) * 1000;
}

/** What it answers to one command, in one piece; nothing when it is not there. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    socket.once('data', (reply: Buffer) => {
      socket.destroy();
      resolve(reply.toString());
    });
    socket.once('error', () => resolve(''));
  });
}

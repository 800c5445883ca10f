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
    await waitFor(() => started.exitCode !== null || answersPing(port), { what: `redis-server on port ${port}` });
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

function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.once('data', (reply: Buffer) => {
      socket.destroy();
      // One that asks for a password answers, too.
      resolve(/^(\+PONG|-NOAUTH)/.test(reply.toString()));
    });
    socket.once('error', () => resolve(false));
  });
}

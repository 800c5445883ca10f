import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { type Clock, delay } from '@sluice/domain';
import { freePort } from '@sluice/embedded-postgres';

export interface EmbeddedRedis extends AsyncDisposable {
  /** With its password. */
  readonly url: string;
}

export interface RedisOptions {
  /** The path of redis-server. */
  readonly program: string;
  readonly home: string;
  readonly clock: Clock;
  /** It ended by itself and is started again, empty. */
  readonly onRestart: () => void;
}

interface Place {
  readonly port: number;
  readonly password: string;
}

const MEMORY_MAX = '256mb';
const READY_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const ANSWER_TIMEOUT_MS = 1_000;
const RESTART_MS = 500;
const STOP_TIMEOUT_MS = 3_000;
const PORT_TRIES_MAX = 5;

/**
 * Starts a Redis of our own on a free port of 127.0.0.1, in memory only: nothing in it is the only copy of anything. One
 * that a killed process left running on this home is ended first. The caller sees to it that the home is used by one
 * process at a time. @throws Error when it does not start
 */
export async function startRedis(options: RedisOptions): Promise<EmbeddedRedis> {
  await endAbandonedRedis(options.home, options.clock);
  for (let tries = 1; ; tries++) {
    const place = { port: await freePort(), password: randomBytes(24).toString('base64url') };
    await writeFile(recordFile(options.home), JSON.stringify(place), { mode: 0o600 });
    const first = launch(options.program, place);
    if (await isReady(first, place, options.clock)) return supervised(options, place, first);
    first.kill('SIGKILL');
    if (tries === PORT_TRIES_MAX) throw new Error('redis-server did not start');
  }
}

/** Ends the Redis that a killed process left running on this home, if there is one. */
export async function endAbandonedRedis(home: string, clock: Clock): Promise<void> {
  const place = await readRecord(home);
  // Whoever has the port now knows the password or is not ours, and then refuses the command.
  if (place) await talk(place, 'SHUTDOWN NOSAVE', clock);
  await rm(recordFile(home), { force: true });
}

const recordFile = (home: string): string => path.join(home, 'redis.json');

async function readRecord(home: string): Promise<Place | undefined> {
  try {
    return JSON.parse(await readFile(recordFile(home), 'utf8')) as Place; // Written above and by nobody else.
  } catch {
    return undefined;
  }
}

/** Starts it again whenever it ends, until it is disposed. */
function supervised(options: RedisOptions, place: Place, first: ChildProcess): EmbeddedRedis {
  const { program, home, clock, onRestart } = options;
  const stopping = new AbortController();
  let current = first;
  const supervising = (async () => {
    while (!stopping.signal.aborted) {
      await ended(current);
      if (stopping.signal.aborted) return;
      onRestart();
      await delay(clock, RESTART_MS, stopping.signal);
      if (!stopping.signal.aborted) current = launch(program, place);
    }
  })();
  return {
    url: `redis://:${place.password}@127.0.0.1:${place.port}`,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      current.kill('SIGTERM');
      const cancel = clock.setTimer(STOP_TIMEOUT_MS, () => current.kill('SIGKILL'));
      await supervising;
      cancel();
      await rm(recordFile(home), { force: true });
    },
  };
}

function launch(program: string, { port, password }: Place): ChildProcess {
  // A group of its own, so that Ctrl-C in the terminal reaches it only after those who use it.
  const child = spawn(program, ['-'], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  // Told on its standard input: arguments are seen by everybody on the machine.
  const settings = [
    `port ${port}`,
    'bind 127.0.0.1',
    `requirepass ${password}`,
    'save ""',
    'appendonly no',
    `maxmemory ${MEMORY_MAX}`,
    'maxmemory-policy noeviction',
  ];
  child.on('error', () => {}); // It then has no process id, and counts as ended.
  child.stdin?.on('error', () => {});
  child.stdin?.end(`${settings.join('\n')}\n`);
  return child;
}

function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
async function ended(child: ChildProcess): Promise<void> {
  if (!isOver(child)) await once(child, 'exit');
}

async function isReady(child: ChildProcess, place: Place, clock: Clock): Promise<boolean> {
  const deadlineMs = clock.monotonicMs() + READY_TIMEOUT_MS;
  while (!isOver(child) && clock.monotonicMs() < deadlineMs) {
    if ((await talk(place, 'PING', clock)).includes('+PONG')) return true;
    await delay(clock, POLL_MS);
  }
  return false;
}

/** Says one thing to a Redis and gives what it answered until it fell silent, hung up or took too long. */
function talk({ port, password }: Place, command: string, clock: Clock): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.end(`AUTH ${password}\r\n${command}\r\n`));
    const cancel = clock.setTimer(ANSWER_TIMEOUT_MS, () => socket.destroy());
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      cancel();
      resolve(answer);
    });
  });
}

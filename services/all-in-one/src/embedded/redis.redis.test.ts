import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createRedisOpQueue } from '@sluice/op-queue';
import { systemClock } from '@sluice/telemetry';
import { testConfig, waitFor } from '@sluice/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EmbeddedRedis, endAbandonedRedis, startRedis } from './redis.ts';

const BUILT = new URL('../../dist/embedded/redis.js', import.meta.url).href;
const CLOCK = import.meta.resolve('@sluice/telemetry');
const program = testConfig().redisServer ?? 'redis-server';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'sluice-redis-home-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const start = (onRestart: () => void = () => {}): Promise<EmbeddedRedis> =>
  startRedis({ program, home, clock: systemClock, onRestart });

async function answers(url: string): Promise<boolean> {
  const options = { url, bytesMaxPerShard: 1, clock: systemClock, onTrouble: () => {}, startTimeoutMs: 300 };
  const queue = await createRedisOpQueue(options).catch(() => undefined);
  await queue?.close();
  return queue !== undefined;
}

/** The process that listens on the URL's port, by its command line's title. */
async function pidOn(url: string): Promise<number> {
  const { port } = new URL(url);
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const commandLine = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (/redis-server|valkey-server/.test(commandLine) && commandLine.includes(`:${port}`)) return Number(name);
  }
  throw new Error('no server on the port');
}

describe('the embedded Redis', () => {
  it('can carry the queue, asks for its password, and is gone once disposed', async () => {
    const redis = await start();
    expect(await answers(redis.url)).toBe(true);
    expect(await answers(redis.url.replace(/:[^:@]+@/, ':wrong@'))).toBe(false);
    expect((await stat(path.join(home, 'redis.json'))).mode & 0o077).toBe(0);
    await redis[Symbol.asyncDispose]();
    expect(await answers(redis.url)).toBe(false);
    expect(await readdir(home)).toEqual([]);
  });

  it('killed, it is started again at the same URL', async () => {
    let restarts = 0;
    const redis = await start(() => restarts++);
    process.kill(await pidOn(redis.url), 'SIGKILL');
    await waitFor(() => restarts === 1, { what: 'its end to be noticed' });
    await waitFor(() => answers(redis.url), { what: 'it to be back' });
    await redis[Symbol.asyncDispose]();
    expect(await answers(redis.url)).toBe(false);
  });

  it('left running by a killed process, it is ended by the next start on this home', async () => {
    const code = `
      const { startRedis } = await import(${JSON.stringify(BUILT)});
      const { systemClock } = await import(${JSON.stringify(CLOCK)});
      const options = { program: ${JSON.stringify(program)}, home: ${JSON.stringify(home)}, clock: systemClock, onRestart() {} };
      console.log((await startRedis(options)).url);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const abandoned = line.toString().trim();
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect(await answers(abandoned)).toBe(true);
    const redis = await start();
    expect(await answers(abandoned)).toBe(false);
    expect(await answers(redis.url)).toBe(true);
    await redis[Symbol.asyncDispose]();
    await endAbandonedRedis(home, systemClock);
  });

  it('a program that is none makes the start fail, not hang', async () => {
    await expect(
      startRedis({ program: '/nowhere/redis-server', home, clock: systemClock, onRestart: () => {} }),
    ).rejects.toThrow('did not start');
  });
});

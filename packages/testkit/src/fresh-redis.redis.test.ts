import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { freshRedis } from './fresh-redis.ts';

async function command(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${text}\r\n`);
  const [reply] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return reply.toString().trim();
}

it('freshRedis gives an empty server that can crash, and comes back empty on the same port', async () => {
  await using redis = await freshRedis();
  expect(await command(redis.port, 'SET a 1')).toBe('+OK');
  expect(await redis.cpuMs()).toBeGreaterThan(0);
  await redis.kill();
  await expect(command(redis.port, 'PING')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await redis.restart();
  expect(await command(redis.port, 'EXISTS a')).toBe(':0');
});

it('command gives texts, numbers, nothing and what Redis refused', async () => {
  await using redis = await freshRedis();
  expect(await redis.command('SET', 'a', 'two\r\nlines')).toBe('OK');
  expect(await redis.command('GET', 'a')).toBe('two\r\nlines');
  expect(await redis.command('GET', 'b')).toBeUndefined();
  expect(await redis.command('STRLEN', 'a')).toBe(10);
  await expect(redis.command('LPUSH', 'a', 1)).rejects.toThrow('WRONGTYPE');
  await redis.kill();
  await expect(redis.command('PING')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

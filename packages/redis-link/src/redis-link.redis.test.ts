import { freshRedis, tcpProxy, waitFor } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { RedisLink } from './redis-link.ts';

it('a link that is lost in the moment in which it is back takes nothing with it, subscriptions or not', async () => {
  await using redis = await freshRedis();
  await using proxy = await tcpProxy({ port: redis.port });
  let readies = 0;
  const link = new RedisLink({
    url: `redis://127.0.0.1:${proxy.port}`,
    name: 'test',
    answerTimeoutMs: 5_000,
    onLost() {},
    onReady() {
      readies++;
      // What the driver asks for by itself now is never answered; a rejection that nobody hears ends the process.
      if (readies === 2) proxy.swallow('toClient');
    },
  });
  await waitFor(() => link.isReady, { what: 'the link' });
  await link.redis.subscribe('news');
  const before = proxy.bytes.toTarget;
  proxy.cut();
  await waitFor(() => readies === 2 && proxy.bytes.toTarget > before, { what: 'the link to be back' });
  proxy.cut();
  proxy.heal();
  await waitFor(() => readies === 3, { what: 'the link to be back again' });
  expect(link.isReady).toBe(true);
  link.close();
});

import { randomBytes } from 'node:crypto';
import { PROTOCOL_VERSION, SUBPROTOCOL_JSON } from '@sluice/protocol';
import { waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { gatewayStack, tokenFor } from './testing/gateway-stack.ts';
import { doc, started, synced } from './testing/sessions.ts';
import { SocketClient } from './testing/socket-client.ts';

describe('a session over a real socket', () => {
  it('hello, welcome, source, schema, checkpoint; then changes as they are committed', async () => {
    const stack = await started();
    await stack.source.commit([doc(1, 'ann'), doc(2, 'bob')]);
    const client = await synced(stack);
    const kinds = client.messages.map((message) => message.type);
    expect(kinds[0]).toBe('welcome');
    expect(kinds.slice(-4)).toEqual(['schema', 'checkpoint', 'chunk', 'checkpoint-end']);
    const lsn = await stack.source.commit([doc(3, 'ann')]);
    await client.untilLsn(lsn);
    expect(client.replica.rows()).toHaveLength(2);
  });

  it('L16: 200 subscribers of one bucket cost one read and one encoding', async () => {
    const stack = await started();
    await stack.source.commit([doc(1, 'ann')]);
    const clients = await Promise.all(Array.from({ length: 200 }, () => synced(stack)));
    const before = stack.gateway.stats();
    const lsn = await stack.source.commit([doc(1, 'ann', 'changed')]);
    await Promise.all(clients.map((client) => client.untilLsn(lsn)));
    const after = stack.gateway.stats();
    expect(after.cacheMisses - before.cacheMisses).toBe(1);
  }, 30_000);

  it('waits for a project that is loading its first epoch, and says so', async () => {
    const stack = await started({ begin: false, config: { pollMs: 50 } });
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    expect((await client.untilMessage('source')).state).toBe('loading');
    await stack.source.begin();
    await client.untilMessage('checkpoint-end');
    await client.until(() => client.messages.some((m) => m.type === 'source' && m.state === 'live'));
  });

  it('resumes after a reconnect without a byte of data', async () => {
    const stack = await started();
    await stack.source.commit([doc(1, 'ann')]);
    const first = await synced(stack);
    first.socket.close();
    await first.closed;
    const second = await synced(stack, 'ann', { replica: first.replica });
    expect(second.messages.some((message) => message.type === 'chunk')).toBe(false);
    expect(second.replica.rows()).toHaveLength(1);
  });

  it('speaks JSON for debugging, rows decoded', async () => {
    const stack = await started();
    await stack.source.commit([doc(1, 'ann', 'long '.repeat(200))]);
    const socket = new WebSocket(stack.url, [SUBPROTOCOL_JSON]);
    const texts: Record<string, unknown>[] = [];
    const ended = new Promise<void>((resolve) => {
      socket.on('message', (data: Buffer, isBinary) => {
        expect(isBinary).toBe(false);
        const message: Record<string, unknown> = JSON.parse(data.toString());
        texts.push(message);
        if (message.type === 'checkpoint-end') resolve();
      });
    });
    await new Promise((resolve) => socket.once('open', resolve));
    const token = await tokenFor('ann');
    const hello = { type: 'hello', version: PROTOCOL_VERSION, project: 'demo', token, clientId: 'c', sdk: 'curl' };
    socket.send(JSON.stringify(hello));
    await ended;
    const chunk = texts.find((message) => message.type === 'chunk');
    expect(chunk?.ops).toEqual([{ put: [1, 'ann', 'red', 'long '.repeat(200)] }]);
    expect(texts.at(-1)).toMatchObject({ type: 'checkpoint-end', sums: [{ rows: 1 }] });
    socket.close();
  });

  it('answers pings', async () => {
    const stack = await started();
    const client = await synced(stack);
    client.send({ type: 'ping', nonce: 77 });
    expect((await client.untilMessage('pong')).nonce).toBe(77);
  });

  it('tells an idle client the newest checkpoint now and then', async () => {
    const stack = await started({ session: { idleCheckpointMs: 30 } });
    const client = await synced(stack);
    const lsn = await stack.source.commit([doc(9, 'bob')]);
    await client.untilLsn(lsn);
    expect(client.replica.rows()).toEqual([]);
  });

  it('bounds what is sent and not yet acknowledged; what waits becomes one checkpoint', async () => {
    const stack = await started({ session: { unappliedMax: 2 } });
    const client = new SocketClient(stack.url);
    client.acknowledges = false;
    await client.hello(await tokenFor('ann'));
    await client.untilMessage('checkpoint-end');
    const second = await stack.source.commit([doc(1, 'ann')]);
    await client.untilLsn(second);
    await stack.source.commit([doc(2, 'ann')]);
    const last = await stack.source.commit([doc(3, 'ann')]);
    const { epoch } = stack.source;
    client.applied(epoch, second);
    await client.untilLsn(last);
    expect(client.replica.applied).toHaveLength(3);
  });
});

describe('bounds', () => {
  it('L16: a client that does not read is paused, then closed; others go on', async () => {
    const stack = await started({ config: { sendBufferPauseBytes: 64 * 1024, sendStalledMs: 300 } });
    const rows = Array.from({ length: 300 }, (_, i) => doc(i + 1, 'ann', randomText(40_000)));
    for (let i = 0; i < rows.length; i += 50) await stack.source.commit(rows.slice(i, i + 50));
    const bystander = await synced(stack, 'bob');
    const slow = new SocketClient(stack.url);
    await slow.hello(await tokenFor('ann'));
    await slow.untilMessage('welcome');
    slow.socket.pause();
    await waitFor(() => stack.gateway.stats().connections === 1, { what: 'the slow client to be closed' });
    expect(stack.log.join('')).toContain('CLIENT_SLOW');
    const lsn = await stack.source.commit([doc(9000, 'bob')]);
    await bystander.untilLsn(lsn);
    slow.socket.terminate();
  }, 30_000);

  it('a large bucket arrives whole, in pages, with changes that come meanwhile after it', async () => {
    const stack = await started({ config: { sendBufferPauseBytes: 64 * 1024 } });
    for (let i = 0; i < 20; i++)
      await stack.source.commit(Array.from({ length: 50 }, (_, j) => doc(i * 50 + j, 'ann', randomText(20_000))));
    await stack.source.commit([doc(3, 'ann', 'newer')]);
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    await client.untilMessage('chunk');
    const lsn = await stack.source.commit([doc(1, 'ann', 'changed')]);
    await client.untilLsn(lsn);
    expect(client.replica.rows()).toHaveLength(1000);
    expect(client.messages.find((message) => message.type === 'checkpoint')).toMatchObject({ totalOps: 1000 });
  }, 30_000);

  it('one user has a bounded number of connections', async () => {
    const stack = await started({ config: { connectionsPerUserMax: 2 } });
    await synced(stack);
    await synced(stack);
    const third = new SocketClient(stack.url);
    await third.hello(await tokenFor('ann'));
    expect(await third.closed).toEqual({ code: 4429, reason: 'TOO_MANY_CONNECTIONS' });
    await synced(stack, 'bob');
  });

  it('a full gateway answers 503', async () => {
    const stack = await started({ config: { connectionsMax: 1 } });
    await synced(stack);
    await expect(new SocketClient(stack.url).opened).rejects.toThrow('503');
  });

  it('a silent client is given up', async () => {
    const stack = await started({ session: { pingIntervalMs: 50, silentMs: 120 } });
    const client = await synced(stack);
    client.socket.pause();
    await waitFor(() => stack.gateway.stats().connections === 0, { what: 'the silent client to be closed' });
    client.socket.terminate();
  });

  it('drains: every client is sent away with 1012, and the port is free', async () => {
    const stack = await gatewayStack({ config: { drainMs: 50 } });
    const clients = await Promise.all(['ann', 'bob', 'cem'].map((user) => synced(stack, user)));
    await stack.gateway.close();
    for (const client of clients) expect(await client.closed).toEqual({ code: 1012, reason: 'GATEWAY_DRAINING' });
    await expect(new SocketClient(stack.url).opened).rejects.toThrow();
  });

  it('answers health checks on the same port', async () => {
    const stack = await started();
    const response = await fetch(stack.url.replace('ws:', 'http:').replace('/sync', '/healthz'));
    expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
  });
});

function randomText(length: number): string {
  return randomBytes(Math.ceil(length / 2))
    .toString('hex')
    .slice(0, length);
}

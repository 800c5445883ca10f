import { tcpProxy, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { tokenFor } from './testing/gateway-stack.ts';
import { doc, started, synced } from './testing/sessions.ts';
import { SocketClient } from './testing/socket-client.ts';

const KB = 1024;
const STALLED = 6;
const BODY_BYTES = 40_000;
/** More than what the kernel takes for a connection, so that something is left to us. */
const LARGE_DOCS = 500;
const DOCS_PER_COMMIT = 5;

const randomText = (bytes: number): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(bytes / 2))).toString('hex');
const bodies = (owner: string, count: number) =>
  Array.from({ length: count }, (_, i) => doc(i + 1, owner, randomText(BODY_BYTES)));

describe('slow clients', () => {
  it('L16: clients that stopped reading hold a bounded part of the send buffers and no page; a reader goes past them', async () => {
    const sendBytesMax = 2048 * KB;
    const stack = await started({ config: { sendBytesMax, cacheBytes: 4096 * KB, sendStalledMs: 60_000 } });
    const rows = bodies('ann', LARGE_DOCS);
    for (let i = 0; i < rows.length; i += DOCS_PER_COMMIT)
      await stack.source.commit(rows.slice(i, i + DOCS_PER_COMMIT));
    const stalled = Array.from({ length: STALLED }, () => new SocketClient(stack.url));
    for (const client of stalled) {
      await client.hello(await tokenFor('ann'));
      await client.untilMessage('checkpoint');
      client.socket.pause();
    }
    const reader = await synced(stack, 'ann');
    expect(reader.replica.rows()).toHaveLength(LARGE_DOCS);
    const lsn = await stack.source.commit([doc(LARGE_DOCS + 1, 'ann')]);
    await reader.untilLsn(lsn);
    const { sendBytesPeak, cacheBytes, connections } = stack.gateway.stats();
    // Each may add one write to what it has when it still has room.
    expect(sendBytesPeak).toBeLessThanOrEqual(sendBytesMax + STALLED * 256 * KB);
    expect(cacheBytes).toBeLessThanOrEqual(3 * 4096 * KB);
    expect(connections).toBe(STALLED + 1);
    for (const client of stalled) client.socket.terminate();
  }, 60_000);

  it('a client that reads again after a pause gets the rest, and then one checkpoint for all that came meanwhile', async () => {
    const stack = await started({ config: { sendBufferPauseBytes: 64 * KB } });
    const rows = bodies('ann', 300);
    for (let i = 0; i < rows.length; i += 50) await stack.source.commit(rows.slice(i, i + 50));
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    await client.untilMessage('checkpoint');
    client.socket.pause();
    await waitFor(() => stack.gateway.stats().sendBytes > 0, { what: 'the client to be behind' });
    let last = stack.source.lsn;
    for (let i = 0; i < 20; i++) last = await stack.source.commit([doc(2000 + i, 'ann')]);
    client.socket.resume();
    await client.untilLsn(last);
    expect(client.replica.rows()).toHaveLength(320);
    expect(client.replica.applied.length).toBeLessThanOrEqual(3);
  }, 60_000);
});

describe('resuming after a cut', () => {
  it('in the middle of a checkpoint: what was held before is not sent again', async () => {
    const stack = await started();
    await stack.source.commit(bodies('ann', 100));
    await using proxy = await tcpProxy({ port: Number(new URL(stack.url).port) });
    const url = stack.url.replace(/:\d+/, `:${proxy.port}`);
    const first = new SocketClient(url);
    await first.hello(await tokenFor('ann'));
    await first.untilMessage('checkpoint-end');
    const changed = bodies('ann', 150).slice(100);
    const isBegun = first.until(() => first.messages.filter(({ type }) => type === 'checkpoint').length > 1);
    const lsn = await stack.source.commit(changed);
    await isBegun;
    proxy.cut();
    await first.closed;
    const second = new SocketClient(url, { replica: first.replica });
    await second.hello(await tokenFor('ann'));
    await second.untilLsn(lsn);
    expect(second.replica.rows()).toHaveLength(150);
    const ops = second.messages.reduce((sum, message) => sum + (message.type === 'chunk' ? message.ops : 0), 0);
    expect(ops).toBeLessThanOrEqual(50);
  }, 30_000);

  it('before the acknowledgement: nothing is sent again', async () => {
    const stack = await started();
    await stack.source.commit(bodies('ann', 100));
    const first = new SocketClient(stack.url);
    first.acknowledges = false;
    await first.hello(await tokenFor('ann'));
    await first.untilMessage('checkpoint-end');
    first.socket.terminate();
    await first.closed;
    const second = await synced(stack, 'ann', { replica: first.replica });
    expect(second.messages.some(({ type }) => type === 'chunk')).toBe(false);
  });
});

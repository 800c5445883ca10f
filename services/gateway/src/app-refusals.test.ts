import { connect } from 'node:net';
import type { Lsn } from '@sluice/domain';
import { encodeClientMessage } from '@sluice/protocol';
import { systemClock } from '@sluice/telemetry';
import { type ManualClock, manualClock } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { secret, tokenFor } from './testing/gateway-stack.ts';
import { doc, planByOrganization, started, synced } from './testing/sessions.ts';
import { SocketClient } from './testing/socket-client.ts';

let nextNonce = 1;
/** Moves time in small strides, in which the client answers pings as a living one does. */
async function quietly(clock: ManualClock, byMs: number, client: SocketClient): Promise<void> {
  for (let left = byMs; left > 0; left -= 10_000) {
    const nonce = nextNonce++;
    const isOpen = client.socket.readyState === WebSocket.OPEN;
    if (isOpen) client.send({ type: 'ping', nonce });
    await client
      .until(() => client.messages.some((message) => message.type === 'pong' && message.nonce === nonce))
      .catch(() => {});
    await clock.advance(Math.min(left, 10_000));
  }
}

describe('what clients may not do', () => {
  const misdeeds: { name: string; act: (client: SocketClient) => void; code: string; close: number }[] = [
    {
      name: 'a second hello',
      act: (client) => void client.hello('x'),
      code: 'PROTOCOL_ORDER',
      close: 1002,
    },
    {
      name: 'an acknowledgement of a checkpoint that was never sent',
      act: (client) => client.applied(client.replica.epoch ?? (1 as never), ((client.replica.lsn ?? 0n) + 1n) as Lsn),
      code: 'PROTOCOL_APPLIED_UNSENT',
      close: 1002,
    },
    {
      name: 'an unknown message',
      act: (client) => client.socket.send(new Uint8Array([99, 1, 2])),
      code: 'PROTOCOL_MALFORMED',
      close: 1002,
    },
    {
      name: 'a truncated message',
      act: (client) => client.socket.send(encodeClientMessage({ type: 'ping', nonce: 1 }).subarray(0, 3)),
      code: 'PROTOCOL_MALFORMED',
      close: 1002,
    },
    {
      name: 'an empty message',
      act: (client) => client.socket.send(new Uint8Array()),
      code: 'PROTOCOL_MALFORMED',
      close: 1002,
    },
    { name: 'text', act: (client) => client.socket.send('hello'), code: 'PROTOCOL_FRAME_TYPE', close: 1003 },
    {
      name: 'a flood',
      act: (client) => {
        for (let nonce = 0; nonce < 1000; nonce++) client.send({ type: 'ping', nonce });
      },
      code: 'PROTOCOL_FLOOD',
      close: 4429,
    },
  ];
  it.each(misdeeds)('$name ends in $code ($close) and disturbs nobody else', async ({ act, code, close }) => {
    const stack = await started();
    const bystander = await synced(stack, 'bob');
    const client = await synced(stack);
    act(client);
    expect(await client.closed).toEqual({ code: close, reason: code });
    expect(client.messages.at(-1)).toMatchObject({ type: 'error', code, fatal: true });
    const lsn = await stack.source.commit([doc(1, 'bob')]);
    await bystander.untilLsn(lsn);
    expect(stack.gateway.stats().sessions).toBe(1);
  });

  it('a message over the limit is not read: 1009', async () => {
    const stack = await started();
    const client = await synced(stack);
    client.socket.send(new Uint8Array(1024 * 1024));
    expect((await client.closed).code).toBe(1009);
  });

  it('anything but hello first: PROTOCOL_ORDER', async () => {
    const stack = await started();
    for (const message of [
      { type: 'token', token: 'x' },
      { type: 'applied', epoch: 1 as never, lsn: 1n as Lsn },
    ] as const) {
      const client = new SocketClient(stack.url);
      await client.opened;
      client.send(message);
      expect((await client.closed).reason).toBe('PROTOCOL_ORDER');
    }
  });

  it('no hello in time: 4408', async () => {
    const stack = await started({ session: { helloWithinMs: 50 } });
    const client = new SocketClient(stack.url);
    expect(await client.closed).toEqual({ code: 4408, reason: 'HELLO_TIMEOUT' });
  });

  it('another protocol version: 4406', async () => {
    const stack = await started();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'), { version: 99 });
    expect(await client.closed).toEqual({ code: 4406, reason: 'PROTOCOL_VERSION' });
  });

  it('ahead of the store: 4409', async () => {
    const stack = await started();
    const client = new SocketClient(stack.url);
    const resume = { epoch: stack.source.epoch, lsn: 0x7fffn as Lsn, buckets: [] };
    await client.hello(await tokenFor('ann'), { resume });
    expect(await client.closed).toEqual({ code: 4409, reason: 'CLIENT_AHEAD' });
  });

  it('a page of another origin, a path or a sub-protocol that is none: refused before the upgrade', async () => {
    const stack = await started({ config: { allowedOrigins: ['https://app.example'] } });
    await expect(new SocketClient(stack.url, { origin: 'https://evil.example' }).opened).rejects.toThrow('403');
    await expect(new SocketClient(`${stack.url}?token=x`).opened).rejects.toThrow('404');
    await expect(new SocketClient(stack.url, { protocols: ['other'] }).opened).rejects.toThrow('400');
    await new SocketClient(stack.url, { origin: 'https://app.example' }).opened;
    await new SocketClient(stack.url).opened;
  });

  it('broken framing costs that connection alone', async () => {
    const stack = await started();
    const bystander = await synced(stack, 'bob');
    const { hostname, port } = new URL(stack.url);
    const hostile = [
      Buffer.from([0xff, 0xff, 0, 0]),
      Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
      Buffer.from([0x82, 0x05, 1, 2, 3, 4, 5]),
      Buffer.from([0x09, 0x80, 0, 0, 0, 0]),
    ];
    for (const bytes of hostile) {
      const socket = connect(Number(port), hostname);
      socket.write(
        `GET /sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\nSec-WebSocket-Protocol: sluice.v1\r\n\r\n`,
      );
      socket.write(bytes);
      await new Promise((resolve) => {
        socket.on('close', resolve);
        socket.on('error', () => {});
        socket.resume();
      });
    }
    const lsn = await stack.source.commit([doc(1, 'bob')]);
    await bystander.untilLsn(lsn);
  });
});

describe('tokens', () => {
  const refused: { name: string; token: () => Promise<string> | string; code: string }[] = [
    {
      name: 'that expired',
      token: () => tokenFor('ann', { nowMs: systemClock.nowMs() - 7_200_000 }),
      code: 'AUTH_EXPIRED',
    },
    {
      name: 'of another project',
      token: () => tokenFor('ann', { key: new TextEncoder().encode('another secret of more than 32 bytes') }),
      code: 'AUTH_SIGNATURE',
    },
    { name: 'with another algorithm', token: () => tokenFor('ann', { algorithm: 'HS512' }), code: 'AUTH_ALGORITHM' },
    { name: 'of 200 KB', token: () => `a.${'b'.repeat(200_000)}.c`, code: 'AUTH_TOKEN_TOO_LARGE' },
    { name: 'that is none', token: () => 'none', code: 'AUTH_TOKEN_MALFORMED' },
  ];
  it.each(refused)('a token $name: $code, and no data', async ({ token, code }) => {
    const stack = await started();
    const client = new SocketClient(stack.url);
    await client.hello(await token());
    expect(await client.closed).toEqual({ code: 4401, reason: code });
    expect(client.messages.map((message) => message.type)).toEqual(['error']);
  });

  it('an unknown project: 4404', async () => {
    const stack = await started();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'), { project: 'nope' });
    expect(await client.closed).toEqual({ code: 4404, reason: 'AUTH_PROJECT_UNKNOWN' });
  });

  it('a 1 MB token is not even read', async () => {
    const stack = await started();
    const client = new SocketClient(stack.url);
    await client.hello('x'.repeat(1024 * 1024));
    expect((await client.closed).code).toBe(1009);
  });

  it('a session ends with its token and the tolerance, after a warning', async () => {
    const clock = manualClock();
    const stack = await started({ clock });
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann', { lifeS: 600, nowMs: clock.nowMs() }));
    await client.untilMessage('checkpoint-end');
    await quietly(clock, 569_000, client);
    expect(client.messages.some((message) => message.type === 'token-expiring')).toBe(false);
    await quietly(clock, 2_000, client);
    expect((await client.untilMessage('token-expiring')).inMs).toBe(60_000);
    await quietly(clock, 61_000, client);
    expect(await client.closed).toEqual({ code: 4401, reason: 'AUTH_EXPIRED' });
  });

  it('a fresh token of the same subject prolongs the session', async () => {
    const clock = manualClock();
    const stack = await started({ clock, plan: planByOrganization });
    const client = new SocketClient(stack.url);
    const tokenOf = (org: string) => tokenFor('ann', { lifeS: 600, nowMs: clock.nowMs(), claims: { org } });
    await client.hello(await tokenOf('org-a'));
    await client.untilMessage('checkpoint-end');
    await quietly(clock, 580_000, client);
    // Other claims, so that the next checkpoint shows that the token was taken.
    client.send({ type: 'token', token: await tokenOf('org-b') });
    await client.until(() => client.replica.applied.length > 1 && client.replica.lastCheckpoint?.drop.length === 1);
    await quietly(clock, 500_000, client);
    const lsn = await stack.source.commit([doc(1, 'org-b')]);
    await client.untilLsn(lsn);
  });

  it('L13: new claims change the buckets before anything else is sent', async () => {
    const stack = await started({ plan: planByOrganization });
    await stack.source.commit([doc(1, 'org-a'), doc(2, 'org-b')]);
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann', { claims: { org: 'org-a' } }));
    await client.untilMessage('checkpoint-end');
    expect(client.replica.rows()).toHaveLength(1);
    const [before] = client.replica.rows();
    client.send({ type: 'token', token: await tokenFor('ann', { claims: { org: 'org-b' } }) });
    await client.until(() => client.replica.applied.length === 2);
    expect(client.replica.rows()).toHaveLength(1);
    expect(client.replica.rows()[0]).not.toBe(before);
    expect(client.replica.lastCheckpoint).toMatchObject({ reset: false, extend: [] });
  });

  it('a token of another subject ends the session: 4403', async () => {
    const stack = await started();
    const client = await synced(stack);
    client.send({ type: 'token', token: await tokenFor('bob') });
    expect(await client.closed).toEqual({ code: 4403, reason: 'AUTH_SUBJECT_CHANGED' });
  });

  it('L16: a user who may have more buckets than a session can hold is told so, with a close code of its own', async () => {
    const stack = await started();
    const memberships = Array.from({ length: 1001 }, (_, id) => ({
      kind: 'member' as const,
      id,
      member: { user: 'ann', team: `team ${id}` },
    }));
    await stack.source.commit(memberships);
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    expect(await client.closed).toEqual({ code: 4413, reason: 'TOO_MANY_BUCKETS' });
  });

  it('G3: a changed secret ends the sessions that the old one opened', async () => {
    const stack = await started();
    const client = await synced(stack);
    stack.setAuth({ keys: { kind: 'hs256', secret: new Uint8Array(40) } });
    expect((await client.closed).reason).toBe('AUTH_SIGNATURE');
  });

  it('no token and no row ever gets into the log', async () => {
    const stack = await started();
    await stack.source.commit([doc(1, 'ann', 'canary-row')]);
    const token = await tokenFor('ann', { claims: { note: 'canary-claim' } });
    const client = new SocketClient(stack.url);
    await client.hello(token);
    await client.untilMessage('checkpoint-end');
    client.send({ type: 'token', token: await tokenFor('bob', { key: new Uint8Array(32) }) });
    await client.closed;
    const log = stack.log.join('');
    expect(log).toContain('session closed');
    for (const secretText of [token, token.split('.')[2] ?? '', 'canary', new TextDecoder().decode(secret)])
      expect(log).not.toContain(secretText);
  });
});

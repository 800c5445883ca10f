import type { BucketStore } from '@sluice/bucket-store';
import { SUBPROTOCOL_BINARY } from '@sluice/protocol';
import { waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { tokenFor } from './testing/gateway-stack.ts';
import { doc, started, synced } from './testing/sessions.ts';
import { SocketClient } from './testing/socket-client.ts';

const CLIENTS = 500;
const READS: ReadonlySet<string> = new Set([
  'readChunks',
  'readSums',
  'readMembership',
  'readMembershipTouched',
  'readTruncated',
]);

/** Holds back and counts what sessions read of the store. */
class StoreGate {
  count = 0;
  private waiting: (() => void)[] | undefined;

  over(store: BucketStore): BucketStore {
    return new Proxy(store, {
      get: (target, name: keyof BucketStore) => {
        const method = target[name];
        if (!READS.has(name)) return method.bind(target);
        return async (...given: unknown[]) => {
          this.count++;
          if (this.waiting) await new Promise<void>((resolve) => this.waiting?.push(resolve));
          return Reflect.apply(method, target, given);
        };
      },
    });
  }
  hold(): void {
    this.waiting = [];
  }
  release(): void {
    for (const resolve of this.waiting ?? []) resolve();
    this.waiting = undefined;
  }
}

/** What a refused upgrade answers. */
function refusal(url: string): Promise<{ status: number; retryAfterS: number; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [SUBPROTOCOL_BINARY]);
    socket.on('open', () => reject(new Error('was let in')));
    socket.on('error', () => {});
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (part: Buffer) => {
        body += part.toString();
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, retryAfterS: Number(response.headers['retry-after']), body }),
      );
    });
  });
}

describe('a crowd that comes back at once', () => {
  it('L16: 500 clients that are cut together are all back at the newest checkpoint, for a few shared reads', async () => {
    const gate = new StoreGate();
    const stack = await started({
      readsThrough: (store) => gate.over(store),
      config: { connectionsPerUserMax: CLIENTS },
    });
    await stack.source.commit([doc(1, 'ann')]);
    const token = await tokenFor('ann');
    const crowd: SocketClient[] = [];
    for (let i = 0; i < CLIENTS; i += 50)
      crowd.push(...(await Promise.all(Array.from({ length: 50 }, () => synced(stack)))));
    for (const client of crowd) client.socket.terminate();
    await waitFor(() => stack.gateway.stats().connections === 0, { what: 'the gateway to see them gone' });
    const lsn = await stack.source.commit([doc(2, 'ann')]);
    const before = gate.count;
    gate.hold();
    const again = crowd.map(({ replica }) => new SocketClient(stack.url, { replica }));
    await Promise.all(
      again.map(async (client) => {
        await client.hello(token);
        await client.untilMessage('welcome');
      }),
    );
    gate.release();
    await Promise.all(again.map((client) => client.untilLsn(lsn)));
    expect(again.every((client) => client.replica.rows().length === 2)).toBe(true);
    // What the first ones asked for before the others came, what these share, and the chunk itself.
    expect(gate.count - before).toBeLessThan(30);
    expect(stack.gateway.stats()).toMatchObject({ sessions: CLIENTS, slicesWaiting: 0 });
    for (const client of again) client.socket.terminate();
  }, 60_000);

  it('L16: more than may be greeted at once are told to come back, at different times', async () => {
    const stack = await started({ config: { handshakesMax: 2 } });
    const silent = [new SocketClient(stack.url), new SocketClient(stack.url)];
    await Promise.all(silent.map(({ opened }) => opened));
    const answers = await Promise.all(Array.from({ length: 40 }, () => refusal(stack.url)));
    expect(answers.every(({ status, body }) => status === 503 && body === 'GATEWAY_FULL')).toBe(true);
    expect(new Set(answers.map(({ retryAfterS }) => retryAfterS)).size).toBeGreaterThan(3);
    await silent[0]?.hello(await tokenFor('ann'));
    await silent[0]?.untilMessage('welcome');
    const late = await synced(stack);
    expect(late.replica.applied).toHaveLength(1);
  });
});

describe('limits of one network address', () => {
  it('L16: an address has a bounded number of connections', async () => {
    const stack = await started({ config: { connectionsPerAddressMax: 1 } });
    await synced(stack);
    expect(await refusal(stack.url)).toMatchObject({ status: 429, body: 'TOO_MANY_FROM_ADDRESS' });
  });

  it('an address that tries tokens is sent away before it can try the next one', async () => {
    const stack = await started({ config: { failedTokensPerMinuteMax: 2 } });
    for (let i = 0; i < 2; i++) {
      const client = new SocketClient(stack.url);
      await client.hello(
        await tokenFor('ann', { key: new TextEncoder().encode('a guess that is longer than 32 bytes') }),
      );
      expect((await client.closed).code).toBe(4401);
    }
    expect(await refusal(stack.url)).toMatchObject({ status: 429, body: 'TOO_MANY_FAILURES' });
  });
});

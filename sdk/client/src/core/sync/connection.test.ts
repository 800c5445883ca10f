import { type BucketId, type Epoch, type Lsn, parseStreamNo } from '@sluice/domain';
import { CHUNK_PAYLOAD_BYTES_MAX, PROTOCOL_VERSION, type ServerMessage } from '@sluice/protocol';
import { describe, expect, test } from 'vitest';
import { bucketId } from '../../testing/model-source.ts';
import { Random } from '../../testing/random.ts';
import { deadlineOf, nextConnection, TIMING } from './connection.ts';
import {
  type ConnectionEffect,
  type ConnectionEvent,
  type ConnectionState,
  INITIAL_STATE,
} from './connection-state.ts';

const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const epoch = 1 as Epoch;
const lsn = (value: number): Lsn => BigInt(value) as Lsn;
const stream = parseStreamNo(1);
const [A, B] = [bucketId(1), bucketId(2)] as const;

/** A connection with its clock; `run` feeds events and keeps the effects of the last one. */
class Bench {
  state: ConnectionState = INITIAL_STATE;
  effects: readonly ConnectionEffect[] = [];
  nowMs = 0;
  held: { epoch: Epoch; lsn: Lsn } | undefined;
  random = 0.5;

  run(...events: ConnectionEvent[]): this {
    for (const event of events) {
      const context = { nowMs: this.nowMs, random: this.random, held: this.held };
      ({ state: this.state, effects: this.effects } = nextConnection(this.state, event, context));
    }
    return this;
  }
  message(...messages: ServerMessage[]): this {
    return this.run(...messages.map((message) => ({ type: 'message', message }) as const));
  }
  /** Through hello and welcome. */
  greeted(): this {
    this.run({ type: 'connect' });
    const request = this.state.request;
    return this.run({ type: 'token', request, token: 't' }, { type: 'socket-open' }).message(WELCOME);
  }
  get kinds(): string[] {
    return this.effects.map(({ type }) => type);
  }
  get reported(): string | undefined {
    const report = this.effects.find((effect) => effect.type === 'report');
    return report?.type === 'report' ? report.error.code : undefined;
  }
}
const WELCOME: ServerMessage = { type: 'welcome', version: PROTOCOL_VERSION, session: 's', pingIntervalMs: 20_000 };
const SCHEMA: ServerMessage = { type: 'schema', tables: [], streams: [{ stream, name: 's', table: 't' }] };
type Head = Extract<ServerMessage, { type: 'checkpoint' }>;
function head(at: number, change: Partial<Head> = {}): Head {
  const empty = { reset: false, drop: [], replace: [], extend: [], totalOps: 0, totalBytes: 0 };
  return { type: 'checkpoint', epoch, lsn: lsn(at), committedAtMs: 0, ...empty, ...change };
}
const end = (at: number): ServerMessage => ({ type: 'checkpoint-end', epoch, lsn: lsn(at), sums: [] });
const chunk = (no: number): ServerMessage => ({
  type: 'chunk',
  no,
  codec: 0,
  ops: 0,
  payloadBytes: 0,
  payload: new Uint8Array(),
});
const bucket = (no: number, id: BucketId) => ({ no, bucket: id, stream });

describe('connection', () => {
  test('the path from connect to an acknowledged checkpoint', () => {
    const bench = new Bench().run({ type: 'connect' });
    expect(bench.effects).toEqual([{ type: 'fetch-token', request: 1 }]);
    expect(bench.run({ type: 'token', request: 1, token: 'jwt' }).kinds).toEqual(['open-socket']);
    expect(bench.run({ type: 'socket-open' }).effects).toEqual([
      { type: 'send-hello', token: 'jwt', distrusted: new Set() },
    ]);
    expect(bench.message(WELCOME).state.phase.kind).toBe('syncing');
    expect(bench.message(SCHEMA).kinds).toEqual(['announce']);
    expect(bench.message(head(5, { reset: true, replace: [bucket(1, A)] })).kinds).toEqual(['begin']);
    expect(bench.message(chunk(1)).kinds).toEqual(['chunk']);
    expect(bench.message(end(5)).effects).toEqual([{ type: 'apply', sums: [] }]);
    expect(bench.run({ type: 'applied', epoch, lsn: lsn(5) }).effects).toEqual([
      { type: 'send', message: { type: 'applied', epoch, lsn: lsn(5) } },
    ]);
  });

  test('every message that cannot follow the ones before it ends the connection and discards the checkpoint', () => {
    const open = [SCHEMA, head(5, { reset: true, replace: [bucket(1, A)] })];
    const wrong: ServerMessage[][] = [
      [WELCOME],
      [head(5)],
      [SCHEMA, chunk(1)],
      [SCHEMA, end(5)],
      [...open, head(6)],
      [...open, SCHEMA],
      [...open, chunk(2)],
      [...open, end(6)],
      [SCHEMA, head(5, { reset: true, extend: [bucket(1, A)] })],
      [SCHEMA, head(5, { reset: true, replace: [bucket(1, A), bucket(1, B)] })],
      [SCHEMA, head(5, { reset: true, replace: [bucket(1, A), bucket(2, A)] })],
      [SCHEMA, head(5, { reset: true, replace: [{ ...bucket(1, A), stream: parseStreamNo(9) }] })],
    ];
    for (const messages of wrong) {
      const bench = new Bench().greeted().message(...messages);
      expect(
        bench.reported,
        JSON.stringify(messages.at(-1), (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
      ).toBe('CLIENT_FRAME_OUT_OF_ORDER');
      expect(bench.kinds).toEqual(['discard', 'close-socket', 'report']);
      expect(bench.state.phase.kind).toBe('waiting');
    }
    const early = new Bench().run(
      { type: 'connect' },
      { type: 'token', request: 1, token: 't' },
      { type: 'socket-open' },
    );
    expect(early.message(SCHEMA).reported).toBe('CLIENT_FRAME_OUT_OF_ORDER');
  });

  test('L12: a checkpoint of the past or of another epoch without a reset is refused', () => {
    for (const wrong of [
      head(4),
      head(9, { epoch: 2 as Epoch }),
      head(9, { epoch: 2 as Epoch, extend: [bucket(1, A)] }),
    ]) {
      const bench = new Bench();
      bench.held = { epoch, lsn: lsn(5) };
      expect(bench.greeted().message(SCHEMA, wrong).reported).toBe('CLIENT_FRAME_OUT_OF_ORDER');
    }
    const bench = new Bench();
    bench.held = { epoch, lsn: lsn(5) };
    expect(bench.greeted().message(SCHEMA, head(5, { drop: [A] })).kinds).toEqual(['begin']);
    expect(
      bench
        .message(end(5))
        .run({ type: 'applied', epoch, lsn: lsn(5) })
        .message(head(3)).reported,
    ).toBeDefined();
  });

  test('L9: a bucket that did not add up is left out, then everything, and what was left out cannot stay', () => {
    const bench = new Bench();
    bench.held = { epoch, lsn: lsn(5) };
    bench.greeted().message(SCHEMA, head(6, { extend: [bucket(1, A)] }), end(6));
    const mismatch = { type: 'refused', code: 'CHECKSUM_MISMATCH', mismatched: [A] } as const;
    expect(bench.run(mismatch).reported).toBe('CHECKSUM_MISMATCH');
    bench.nowMs += 60_000;
    bench.run({ type: 'timer' }).run({ type: 'token', request: bench.state.request, token: 't' });
    expect(bench.run({ type: 'socket-open' }).effects).toMatchObject([{ distrusted: new Set([A]) }]);
    bench.message(WELCOME, SCHEMA, head(6, { drop: [B] }));
    expect(bench.effects).toMatchObject([{ type: 'begin', head: { drop: [B, A] } }]);
    bench.run(mismatch);
    bench.nowMs += 60_000;
    bench.run({ type: 'timer' }).run({ type: 'token', request: bench.state.request, token: 't' });
    expect(bench.run({ type: 'socket-open' }).effects).toMatchObject([{ distrusted: 'all' }]);
    bench.message(WELCOME, SCHEMA, head(6, { replace: [bucket(1, A)] }));
    expect(bench.effects).toMatchObject([{ type: 'begin', head: { reset: true } }]);
    bench.message(end(6)).run({ type: 'applied', epoch, lsn: lsn(6) });
    expect(bench.state).toMatchObject({ distrusted: new Set(), attempt: 0 });
  });

  test('pauses between attempts grow with jitter, stay below ten seconds and end at once when the device is online', () => {
    const bench = new Bench().run({ type: 'connect' });
    const pauses: number[] = [];
    for (let i = 0; i < 12; i++) {
      bench.run({ type: 'token-failed', request: bench.state.request });
      expect(bench.reported).toBe('CLIENT_AUTH_FAILED');
      const until = deadlineOf(bench.state) ?? 0;
      pauses.push(until - bench.nowMs);
      bench.nowMs = until;
      bench.run({ type: 'timer' });
      expect(bench.kinds).toEqual(['fetch-token']);
    }
    expect(pauses[0]).toBeLessThan(1000);
    expect(pauses.every((pause, i) => pause >= (pauses[i - 1] ?? 0))).toBe(true);
    expect(pauses.at(-1)).toBeLessThanOrEqual(TIMING.backoffMax);
    bench.run({ type: 'token-failed', request: bench.state.request });
    expect(bench.run({ type: 'online' }).kinds).toEqual(['fetch-token']);
  });

  test('a silent server is pinged, then left; each step of connecting has its time limit', () => {
    const bench = new Bench().greeted();
    bench.nowMs = deadlineOf(bench.state) ?? 0;
    expect(bench.run({ type: 'timer' }).effects).toMatchObject([{ type: 'send', message: { type: 'ping' } }]);
    bench.nowMs = deadlineOf(bench.state) ?? 0;
    expect(bench.run({ type: 'timer' }).reported).toBe('CLIENT_SERVER_SILENT');

    const answered = new Bench().greeted();
    answered.nowMs = deadlineOf(answered.state) ?? 0;
    answered.run({ type: 'timer' }).message({ type: 'pong', nonce: 1 });
    expect(deadlineOf(answered.state)).toBe(answered.nowMs + 20_000);

    const steps: ConnectionEvent[] = [{ type: 'token', request: 1, token: 't' }, { type: 'socket-open' }];
    for (let reached = 0; reached <= steps.length; reached++) {
      const stuck = new Bench().run({ type: 'connect' }, ...steps.slice(0, reached));
      stuck.nowMs = deadlineOf(stuck.state) ?? 0;
      expect(stuck.run({ type: 'timer' }).state.phase.kind).toBe('waiting');
    }
  });

  test('a server error is told as it came; a code that gives up stops until the app connects again', () => {
    const bench = new Bench().greeted();
    const error = { type: 'error', code: 'SOME_NEW_CODE', message: 'm', remedy: 'r' } as const;
    expect(bench.message({ ...error, fatal: false }).effects).toEqual([
      { type: 'report', error: { kind: 'server', code: 'SOME_NEW_CODE', message: 'm', remedy: 'r' } },
    ]);
    expect(bench.state.phase.kind).toBe('syncing');
    expect(bench.message({ ...error, fatal: true }).state.phase.kind).toBe('waiting');
    const old = new Bench().run(
      { type: 'connect' },
      { type: 'token', request: 1, token: 't' },
      { type: 'socket-open' },
    );
    old.message({ ...WELCOME, version: 99 } as ServerMessage);
    expect(old.reported).toBe('CLIENT_VERSION_UNSUPPORTED');
    expect(old.state.phase.kind).toBe('stopped');
    expect(deadlineOf(old.state)).toBeUndefined();
    expect(old.run({ type: 'connect' }).kinds).toEqual(['fetch-token']);
  });

  test('L17: a client ahead of its server stops, also when only the close says so; other closes are tried again', () => {
    const closed = (reason: string) => new Bench().greeted().run({ type: 'socket-closed', reason });
    expect(closed('CLIENT_AHEAD').state.phase.kind).toBe('stopped');
    expect(closed('CLIENT_AHEAD').reported).toBe('CLIENT_AHEAD');
    expect(closed('PROTOCOL_ORDER').state.phase.kind).toBe('stopped');
    expect(closed('').reported).toBe('CLIENT_CONNECTION_LOST');
    expect(closed('anything').state.phase.kind).toBe('waiting');
  });

  test('a token that ends is replaced in the session; late and foreign tokens are ignored', () => {
    const bench = new Bench().greeted();
    expect(bench.message({ type: 'token-expiring', inMs: 1000 }).effects).toEqual([
      { type: 'fetch-token', request: 2 },
    ]);
    expect(bench.run({ type: 'token', request: 1, token: 'old' }).effects).toEqual([]);
    expect(bench.run({ type: 'token', request: 2, token: 'new' }).effects).toEqual([
      { type: 'send', message: { type: 'token', token: 'new' } },
    ]);
    expect(bench.run({ type: 'token', request: 2, token: 'again' }).effects).toEqual([]);
  });

  test('an oversized chunk and unreadable bytes end the connection with their code', () => {
    const bench = new Bench().greeted().message(SCHEMA, head(5, { reset: true, replace: [bucket(1, A)] }));
    const large = { ...chunk(1), payloadBytes: CHUNK_PAYLOAD_BYTES_MAX + 1 } as ServerMessage;
    expect(bench.message(large).reported).toBe('CLIENT_FRAME_TOO_LARGE');
    const unread = new Bench().greeted().run({ type: 'unreadable', code: 'CLIENT_FRAME_MALFORMED' });
    expect(unread.reported).toBe('CLIENT_FRAME_MALFORMED');
  });

  test('disconnect hangs up from every phase and nothing happens until the next connect', () => {
    const bench = new Bench().greeted().message(SCHEMA, head(5, { reset: true }));
    expect(bench.run({ type: 'disconnect' }).kinds).toEqual(['discard', 'close-socket']);
    for (const event of [
      { type: 'timer' },
      { type: 'socket-closed', reason: '' },
      { type: 'socket-open' },
      { type: 'online' },
    ] as const)
      expect(bench.run(event).effects).toEqual([]);
    expect(bench.message(end(5)).effects).toEqual([]);
  });

  test(`any order of events keeps to the protocol: nothing applies that was not begun (SLUICE_SEED=${seed})`, () => {
    const random = new Random(seed);
    const messages: ServerMessage[] = [WELCOME, SCHEMA, chunk(1), chunk(2), { type: 'pong', nonce: 1 }];
    for (let round = 0; round < 300; round++) {
      const bench = new Bench();
      let open = false;
      for (let i = 0; i < 60; i++) {
        bench.nowMs += random.int(3000);
        const at = random.int(4);
        bench.run(
          randomEvent(random, bench, [...messages, head(at, { reset: true, replace: [bucket(1, A)] }), end(at)]),
        );
        for (const effect of bench.effects) {
          if (effect.type === 'begin') expect(open).toBe(false);
          if (effect.type === 'chunk' || effect.type === 'apply') expect(open).toBe(true);
          if (effect.type === 'begin') open = true;
          if (effect.type === 'apply' || effect.type === 'discard') open = false;
        }
      }
    }
  });
});

function randomEvent(random: Random, bench: Bench, messages: readonly ServerMessage[]): ConnectionEvent {
  const { request } = bench.state;
  return random.pick<ConnectionEvent>([
    { type: 'connect' },
    { type: 'token', request, token: 't' },
    { type: 'socket-open' },
    { type: 'timer' },
    ...(random.chance(0.1)
      ? ([{ type: 'disconnect' }, { type: 'socket-closed', reason: '' }, { type: 'online' }] as const)
      : []),
    ...messages.map((message) => ({ type: 'message', message }) as const),
  ]);
}

import { type BucketId, ByteWriter, type Epoch, type Lsn, parseProjectId, writeCell } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type ClientMessage, encodeMutations, LIMITS, PROTOCOL_VERSION } from '@sluice/protocol';
import { describe, expect, it } from 'vitest';
import { defaultSessionLimits } from '../config.ts';
import { advance, type SessionEffect, type SessionEvent } from './advance.ts';
import { type Identity, initialState, type Now, nextDueInMs, type SessionState } from './state.ts';

const limits = { ...defaultSessionLimits, unappliedMax: 4 };
const epoch = 1 as Epoch;
const lsn = (n: number) => BigInt(n) as Lsn;
const startWallMs = 1_900_000_000_000;
const identity: Identity = {
  project: parseProjectId(1),
  subject: 'ann',
  tokenClaims: { sub: 'ann' },
  expiresAtMs: startWallMs + 36_000_000,
};
const hello: Extract<ClientMessage, { type: 'hello' }> = {
  type: 'hello',
  version: PROTOCOL_VERSION,
  project: 'p',
  token: 't',
  clientId: 'c',
  sdk: 's',
  resume: undefined,
};

/** A session under test: remembers its state and what it decided. */
class Subject {
  now: Now = { wallMs: startWallMs, monotonicMs: 0 };
  state: SessionState = initialState(this.now, limits);

  on(event: SessionEvent): readonly SessionEffect[] {
    const { state, effects } = advance(this.state, event, this.now, limits);
    this.state = state;
    return effects;
  }
  message(message: ClientMessage): readonly SessionEffect[] {
    return this.on({ kind: 'message', message });
  }
  pass(ms: number): this {
    this.now = { wallMs: this.now.wallMs + ms, monotonicMs: this.now.monotonicMs + ms };
    return this;
  }
  sent(n: number, bytes = 100): readonly SessionEffect[] {
    return this.on({ kind: 'step-done', sent: { epoch, lsn: lsn(n), bytes } });
  }
}
function opened(clientId = hello.clientId): Subject {
  const subject = new Subject();
  subject.message({ ...hello, clientId });
  subject.on({ kind: 'verified', identity });
  return subject;
}
const kinds = (effects: readonly SessionEffect[]) => effects.map((effect) => effect.kind);
function closeCode(effects: readonly SessionEffect[]): string | undefined {
  const close = effects.find((effect) => effect.kind === 'close');
  return close?.error.code;
}
const step: SessionEffect = { kind: 'step', evenIfBare: false };

describe('the way in', () => {
  it('hello is verified, then the session joins its project', () => {
    const subject = new Subject();
    expect(subject.message(hello)).toEqual([{ kind: 'verify', purpose: 'hello', token: 't' }]);
    expect(subject.on({ kind: 'verified', identity })).toEqual([{ kind: 'join', identity }]);
    expect(subject.on({ kind: 'news' })).toEqual([step]);
  });

  const tooEarly: ClientMessage[] = [
    { type: 'token', token: 't' },
    { type: 'applied', epoch, lsn: lsn(1) },
    { type: 'upload', seq: 1, refusalsKept: 0, mutations: new Uint8Array(0) },
  ];
  it.each(tooEarly)('$type before welcome is out of order', (message) => {
    expect(closeCode(new Subject().message(message))).toBe('PROTOCOL_ORDER');
    const waiting = new Subject();
    waiting.message(hello);
    expect(closeCode(waiting.message(message))).toBe('PROTOCOL_ORDER');
  });

  it('a second hello ends the session at any time', () => {
    const waiting = new Subject();
    waiting.message(hello);
    expect(closeCode(waiting.message(hello))).toBe('PROTOCOL_ORDER');
    expect(closeCode(opened().message(hello))).toBe('PROTOCOL_ORDER');
  });

  it('a hello that claims more buckets than a session may have is refused', () => {
    const claiming = (count: number): ClientMessage => {
      const buckets = Array.from({ length: count }, () => '0'.repeat(32) as BucketId);
      return { ...hello, resume: { epoch, lsn: lsn(1), buckets } };
    };
    expect(closeCode(new Subject().message(claiming(1001)))).toBe('PROTOCOL_TOO_LARGE');
    expect(closeCode(new Subject().message(claiming(1000)))).toBeUndefined();
  });

  it('who says nothing is sent away in time, and not before', () => {
    const subject = new Subject();
    expect(nextDueInMs(subject.state, subject.now, limits)).toBe(limits.helloWithinMs);
    expect(subject.pass(limits.helloWithinMs - 1).on({ kind: 'tick' })).toEqual([]);
    expect(closeCode(subject.pass(1).on({ kind: 'tick' }))).toBe('HELLO_TIMEOUT');
  });

  it('a closed session does nothing more, whatever comes', () => {
    const subject = opened();
    subject.on({ kind: 'disconnected' });
    const events: SessionEvent[] = [
      { kind: 'message', message: hello },
      { kind: 'verified', identity },
      { kind: 'news' },
      { kind: 'tick' },
      { kind: 'step-done', sent: undefined },
      { kind: 'refused', error: new AppError('PROTOCOL_MALFORMED') },
    ];
    for (const event of events) expect(subject.on(event)).toEqual([]);
    expect(nextDueInMs(subject.state, subject.now, limits)).toBeUndefined();
  });
});

describe('steps', () => {
  it('one at a time: news that comes meanwhile is one further step', () => {
    const subject = opened();
    expect(subject.on({ kind: 'news' })).toEqual([step]);
    expect(subject.on({ kind: 'news' })).toEqual([]);
    expect(subject.on({ kind: 'news' })).toEqual([]);
    expect(subject.sent(1)).toEqual([step]);
    expect(subject.sent(2)).toEqual([]);
  });

  it('L16: no more than the window is sent unacknowledged', () => {
    const subject = opened();
    for (let n = 1; n <= 4; n++) {
      expect(subject.on({ kind: 'news' })).toEqual([step]);
      subject.sent(n);
    }
    expect(subject.on({ kind: 'news' })).toEqual([]);
    expect(subject.message({ type: 'applied', epoch, lsn: lsn(2) })).toEqual([step]);
  });

  it('L16: nor more than a number of bytes', () => {
    const subject = opened();
    subject.on({ kind: 'news' });
    subject.sent(1, limits.unappliedBytesMax);
    expect(subject.on({ kind: 'news' })).toEqual([]);
    expect(subject.message({ type: 'applied', epoch, lsn: lsn(1) })).toEqual([step]);
  });

  it('an acknowledgement of what was not sent ends the session; an old one means nothing', () => {
    const subject = opened();
    expect(closeCode(opened().message({ type: 'applied', epoch, lsn: lsn(1) }))).toBe('PROTOCOL_APPLIED_UNSENT');
    subject.on({ kind: 'news' });
    subject.sent(5);
    expect(subject.message({ type: 'applied', epoch, lsn: lsn(4) })).toEqual([]);
    expect(subject.message({ type: 'applied', epoch, lsn: lsn(5) })).toEqual([]);
    expect(subject.message({ type: 'applied', epoch, lsn: lsn(5) })).toEqual([]);
    const later = { type: 'applied', epoch: 2 as Epoch, lsn: lsn(1) } as const;
    expect(closeCode(subject.message(later))).toBe('PROTOCOL_APPLIED_UNSENT');
  });

  it('a failed step is tried again, later each time, unless a part of it was sent', () => {
    const subject = opened();
    subject.on({ kind: 'news' });
    const error = new AppError('STORE_UNAVAILABLE');
    let waitedMs = 0;
    for (const expectedMs of [500, 1000, 2000, 4000]) {
      expect(subject.on({ kind: 'step-failed', error, hasBegun: false })).toEqual([]);
      expect(subject.on({ kind: 'news' })).toEqual([]);
      waitedMs = nextDueInMs(subject.state, subject.now, limits) ?? 0;
      expect(waitedMs).toBe(expectedMs);
      expect(subject.pass(waitedMs).on({ kind: 'tick' })).toEqual([step]);
    }
    expect(closeCode(subject.on({ kind: 'step-failed', error, hasBegun: true }))).toBe('STORE_UNAVAILABLE');
  });

  it('a failure that no retry can heal ends the session at once', () => {
    const subject = opened();
    subject.on({ kind: 'news' });
    const error = new AppError('TOO_MANY_BUCKETS');
    expect(closeCode(subject.on({ kind: 'step-failed', error, hasBegun: false }))).toBe('TOO_MANY_BUCKETS');
  });

  it('an idle session is told the newest checkpoint now and then, a busy one is not', () => {
    const subject = opened();
    subject.on({ kind: 'news' });
    subject.sent(1);
    subject.message({ type: 'applied', epoch, lsn: lsn(1) });
    subject.pass(limits.idleCheckpointMs);
    expect(subject.on({ kind: 'tick' })).toContainEqual({ kind: 'step', evenIfBare: true });
    subject.pass(limits.idleCheckpointMs).on({ kind: 'heard' });
    expect(kinds(subject.on({ kind: 'tick' }))).not.toContain('step');
  });
});

describe('tokens', () => {
  it('a warning, once, and then the end', () => {
    const subject = opened();
    subject.now = { wallMs: identity.expiresAtMs - limits.tokenWarningMs, monotonicMs: 1 };
    expect(subject.on({ kind: 'tick' })).toContainEqual({
      kind: 'send',
      message: { type: 'token-expiring', inMs: limits.tokenWarningMs },
    });
    expect(subject.on({ kind: 'tick' })).toEqual([]);
    subject.now = { wallMs: identity.expiresAtMs, monotonicMs: 2 };
    expect(closeCode(subject.on({ kind: 'tick' }))).toBe('AUTH_EXPIRED');
  });

  it('a new token prolongs the session, and its claims are taken', () => {
    const subject = opened();
    expect(subject.message({ type: 'token', token: 'new' })).toEqual([
      { kind: 'verify', purpose: 'token', token: 'new' },
    ]);
    const later = { ...identity, expiresAtMs: identity.expiresAtMs + 3_600_000 };
    expect(subject.on({ kind: 'verified', identity: later })).toEqual([{ kind: 'take-claims', identity: later }]);
    subject.now = { wallMs: identity.expiresAtMs + 1, monotonicMs: 1 };
    expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
  });

  it('one verification at a time: of tokens that come meanwhile, the last counts', () => {
    const subject = opened();
    subject.message({ type: 'token', token: 'a' });
    expect(subject.message({ type: 'token', token: 'b' })).toEqual([]);
    expect(subject.message({ type: 'token', token: 'c' })).toEqual([]);
    expect(subject.on({ kind: 'verified', identity })).toContainEqual({ kind: 'verify', purpose: 'token', token: 'c' });
  });

  it('another subject, or the same of another project, ends the session', () => {
    for (const other of [
      { ...identity, subject: 'bob' },
      { ...identity, project: parseProjectId(2) },
    ]) {
      const subject = opened();
      subject.message({ type: 'token', token: 'b' });
      expect(closeCode(subject.on({ kind: 'verified', identity: other }))).toBe('AUTH_SUBJECT_CHANGED');
    }
  });

  it('G3: a long session’s token is verified again; only unreachable keys are forgiven', () => {
    const revalidating = (): Subject => {
      const subject = opened().pass(limits.revalidateMs);
      subject.on({ kind: 'heard' });
      expect(subject.on({ kind: 'tick' })).toContainEqual({ kind: 'verify', purpose: 'revalidate', token: undefined });
      return subject;
    };
    const failed = (code: 'AUTH_KEYS_UNAVAILABLE' | 'AUTH_KEY_UNKNOWN') =>
      revalidating().on({ kind: 'verify-failed', error: new AppError(code) });
    expect(failed('AUTH_KEYS_UNAVAILABLE')).toEqual([]);
    expect(closeCode(failed('AUTH_KEY_UNKNOWN'))).toBe('AUTH_KEY_UNKNOWN');
    expect(revalidating().on({ kind: 'verified', identity })).toEqual([]);
  });
});

describe('liveness and floods', () => {
  it('is pinged, and given up when it stays silent', () => {
    const subject = opened();
    expect(kinds(subject.pass(limits.pingIntervalMs).on({ kind: 'tick' }))).toContain('ping');
    subject.on({ kind: 'heard' });
    subject.pass(limits.silentMs - 1);
    expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
    expect(closeCode(subject.pass(1).on({ kind: 'tick' }))).toBe('CLIENT_SILENT');
  });

  it('L16: a client is too slow when it acknowledges nothing for long, not when it is merely behind', () => {
    const subject = opened();
    for (let n = 1; n <= 3; n++) subject.sent(n);
    for (let n = 1; n <= 2; n++) {
      subject.pass(limits.unappliedMs - 1);
      subject.on({ kind: 'heard' });
      expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
      subject.message({ type: 'applied', epoch, lsn: lsn(n) });
    }
    subject.pass(limits.unappliedMs - 1);
    subject.on({ kind: 'heard' });
    expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
    expect(nextDueInMs(subject.state, subject.now, limits)).toBeLessThanOrEqual(1);
    expect(closeCode(subject.pass(1).on({ kind: 'tick' }))).toBe('CLIENT_SLOW');
  });

  it('a client that has acknowledged everything is never too slow', () => {
    const subject = opened();
    subject.sent(1);
    subject.message({ type: 'applied', epoch, lsn: lsn(1) });
    subject.pass(limits.unappliedMs * 2);
    subject.on({ kind: 'heard' });
    expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
  });

  it('a jump of the wall clock makes nobody silent', () => {
    const subject = opened();
    subject.now = { ...subject.now, wallMs: subject.now.wallMs + 3_000_000 };
    expect(closeCode(subject.on({ kind: 'tick' }))).toBeUndefined();
  });

  it('messages cost; acknowledgements that are waited for do not', () => {
    const subject = opened();
    for (let n = 1; n <= limits.messagesBurst * 3; n++) {
      subject.on({ kind: 'news' });
      subject.sent(n);
      expect(closeCode(subject.message({ type: 'applied', epoch, lsn: lsn(n) }))).toBeUndefined();
    }
    const nonce = 1;
    let code: string | undefined;
    for (let i = 0; i < limits.messagesBurst && !code; i++) code = closeCode(subject.message({ type: 'ping', nonce }));
    expect(code).toBe('PROTOCOL_FLOOD');
  });

  it('the allowance comes back with time', () => {
    const subject = opened();
    for (let i = 0; i < limits.messagesBurst - 1; i++) subject.message({ type: 'ping', nonce: 1 });
    subject.pass(1000);
    for (let i = 0; i < limits.messagesPerS; i++)
      expect(closeCode(subject.message({ type: 'ping', nonce: 1 }))).toBeUndefined();
    expect(closeCode(subject.message({ type: 'ping', nonce: 1 }))).toBe('PROTOCOL_FLOOD');
  });
});

describe('uploads (L15)', () => {
  const uuid = '0f8fad5b-d9cb-469f-a165-70867728950e';
  const upload = (seq: number, rest: Partial<Extract<ClientMessage, { type: 'upload' }>> = {}) =>
    ({ type: 'upload', seq, refusalsKept: 0, mutations: new Uint8Array(0), ...rest }) as const;
  const enabled = { type: 'writes', state: 'enabled', code: '' } as const;
  const recorded = (expected: number) => ({ result: 'recorded', code: '', expected }) as const;
  const writing = (): Subject => {
    const subject = opened(uuid);
    subject.on({ kind: 'writes', message: enabled });
    return subject;
  };
  const results = (effects: readonly SessionEffect[]) =>
    effects.flatMap((effect) =>
      effect.kind === 'send' && effect.message.type === 'upload-result'
        ? [[effect.message.seq, effect.message.result, effect.message.expected]]
        : [],
    );

  it('whether they are taken is told, and told again when it changes', () => {
    const subject = opened(uuid);
    expect(subject.on({ kind: 'writes', message: enabled })).toEqual([{ kind: 'send', message: enabled }]);
    const unavailable = { type: 'writes', state: 'unavailable', code: 'WRITES_ROLE_UNSAFE' } as const;
    expect(subject.on({ kind: 'writes', message: unavailable })).toEqual([{ kind: 'send', message: unavailable }]);
    const refused = { type: 'upload-result', seq: 1, result: 'retry', code: 'WRITES_ROLE_UNSAFE', expected: 1 };
    expect(subject.message(upload(1))).toEqual([{ kind: 'send', message: refused }]);
  });

  it('one hand-over at a time is with the writer, as the user who is signed in then', () => {
    const subject = writing();
    expect(subject.message(upload(1))).toEqual([{ kind: 'upload', uploads: [upload(1)], identity }]);
    expect(subject.message(upload(2))).toEqual([]);
    const fresh = { ...identity, tokenClaims: { sub: 'ann', role: 'admin' } };
    subject.message({ type: 'token', token: 'u' });
    subject.on({ kind: 'verified', identity: fresh });
    const effects = subject.on({ kind: 'upload-answered', answer: recorded(2) });
    expect(results(effects)).toEqual([[1, 'recorded', 2]]);
    expect(effects.at(-1)).toEqual({ kind: 'upload', uploads: [upload(2)], identity: fresh });
    expect(kinds(subject.on({ kind: 'upload-answered', answer: recorded(3) }))).toEqual(['send']);
  });

  it('what came meanwhile goes together, as far as its numbers follow each other and it is no more than one may be', () => {
    const subject = writing();
    const key = new ByteWriter();
    writeCell(key, 'x'.repeat(100_000));
    const large = {
      mutations: encodeMutations([{ kind: 'delete', table: 't', key: key.take(), keyCells: 1, columns: [] }]),
    };
    for (const one of [upload(1), upload(2), upload(3), upload(5), upload(6, large), upload(7, large)])
      subject.message(one);
    const numbers = (effects: readonly SessionEffect[]) =>
      effects.flatMap((effect) => (effect.kind === 'upload' ? effect.uploads.map(({ seq }) => seq) : []));
    const answered = (expected: number) => numbers(subject.on({ kind: 'upload-answered', answer: recorded(expected) }));
    expect(answered(2)).toEqual([2, 3]);
    // Not all of them were recorded: the rest goes again.
    expect(answered(3)).toEqual([3]);
    expect(answered(4)).toEqual([5, 6]);
    expect(answered(7)).toEqual([7]);
    expect(answered(8)).toEqual([]);
  });

  it('of those that went together each is answered, also when the writer stopped in the middle', () => {
    const subject = writing();
    for (const seq of [1, 2, 3, 4, 5]) subject.message(upload(seq));
    subject.on({ kind: 'upload-answered', answer: recorded(2) });
    const effects = subject.on({
      kind: 'upload-answered',
      answer: { result: 'retry', code: 'WRITES_BUSY', expected: 4 },
    });
    expect(results(effects)).toEqual([
      [2, 'recorded', 3],
      [3, 'recorded', 4],
      [4, 'retry', 4],
      [5, 'gap', 4],
    ]);
  });

  it.each(['retry', 'gap'] as const)('behind a %s those that wait are gaps, and are not tried', (result) => {
    const subject = writing();
    for (const seq of [4, 5, 6]) subject.message(upload(seq));
    const effects = subject.on({ kind: 'upload-answered', answer: { result, code: '', expected: 4 } });
    expect(results(effects)).toEqual([
      [4, result, 4],
      [5, 'gap', 4],
      [6, 'gap', 4],
    ]);
    expect(kinds(effects)).not.toContain('upload');
    expect(subject.message(upload(4))).toEqual([{ kind: 'upload', uploads: [upload(4)], identity }]);
  });

  it('a failed hand-over is a retry; one that no retry heals ends the session', () => {
    const subject = writing();
    subject.message(upload(1));
    expect(results(subject.on({ kind: 'upload-failed', error: new AppError('WRITES_BUSY') }))).toEqual([
      [1, 'retry', 1],
    ]);
    subject.message(upload(1));
    const foreign = new AppError('WRITE_CLIENT_FOREIGN');
    expect(closeCode(subject.on({ kind: 'upload-failed', error: foreign }))).toBe('WRITE_CLIENT_FOREIGN');
    expect(subject.on({ kind: 'upload-answered', answer: recorded(2) })).toEqual([]);
  });

  it('L16: more than may be unanswered ends the session; those that are cost nothing', () => {
    const subject = writing();
    for (let seq = 1; seq <= 1000; seq++) {
      subject.message(upload(seq));
      expect(results(subject.on({ kind: 'upload-answered', answer: recorded(seq + 1) }))).toHaveLength(1);
    }
    for (let seq = 1001; seq <= 1000 + LIMITS.uploadsUnansweredMax; seq++)
      expect(closeCode(subject.message(upload(seq)))).toBeUndefined();
    expect(closeCode(subject.message(upload(2000)))).toBe('PROTOCOL_FLOOD');
  });

  it('L16: uploads that nobody takes are messages like others', () => {
    const subject = opened(uuid);
    let last: string | undefined;
    for (let i = 0; i <= limits.messagesBurst; i++) last ??= closeCode(subject.message(upload(1)));
    expect(last).toBe('PROTOCOL_FLOOD');
  });

  it.each([
    ['PROTOCOL_MALFORMED', upload(0)],
    ['PROTOCOL_MALFORMED', upload(2, { refusalsKept: 2 })],
    ['PROTOCOL_MALFORMED', upload(1, { mutations: Uint8Array.of(1, 2, 3) })],
    ['PROTOCOL_TOO_LARGE', upload(1, { mutations: new Uint8Array(LIMITS.uploadBytesMax + 1) })],
  ])('%s: what no client of ours would send ends the session', (code, message) => {
    expect(closeCode(writing().message(message))).toBe(code);
  });

  it('PROTOCOL_CLIENT_ID: only a UUID can be recorded', () => {
    const subject = opened('c');
    subject.on({ kind: 'writes', message: enabled });
    expect(closeCode(subject.message(upload(1)))).toBe('PROTOCOL_CLIENT_ID');
  });
});

import { formatLsn, hexFromBytes, MalformedBytesError } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { clientMessageFromJson, jsonFromServerMessage } from './json.ts';
import type { ClientMessage, ServerMessage } from './messages.ts';
import { clientSamples, serverSamples } from './samples.fixture.ts';

function jsonFromClientMessage(message: ClientMessage): string {
  const shown = message.type === 'upload' ? { ...message, mutations: hexFromBytes(message.mutations) } : message;
  return JSON.stringify(shown, (_key, value) => (typeof value === 'bigint' ? formatLsn(value as never) : value));
}
function shown(type: ServerMessage['type'], index = 0): unknown {
  const sample = serverSamples.filter((message) => message.type === type)[index];
  return sample && JSON.parse(jsonFromServerMessage(sample));
}

describe('the JSON form', () => {
  it('reads what binary clients send', () => {
    for (const sample of clientSamples) expect(clientMessageFromJson(jsonFromClientMessage(sample))).toEqual(sample);
  });

  it('shows ops decoded, and what JSON lacks by name', () => {
    expect(shown('chunk')).toEqual({
      type: 'chunk',
      no: 41,
      ops: [{ put: [7, 'héllo', null, { $int: '1152921504606846976' }, { $blob: '00ff' }, 1.5] }, { remove: [8] }],
    });
    expect(shown('chunk', 1)).toMatchObject({ codec: 1, payload: '0300' });
  });

  it('shows LSNs as Postgres does and checksums as 16 hex digits', () => {
    expect(shown('checkpoint')).toMatchObject({ lsn: '16/B374D848', reset: true });
    expect(shown('checkpoint-end')).toMatchObject({ sums: [{ no: 41, checksum: 'fedcba9876543210', rows: 1 }] });
  });

  it('every server message is one JSON object with its type', () => {
    for (const sample of serverSamples) expect(JSON.parse(jsonFromServerMessage(sample)).type).toBe(sample.type);
  });

  const hello = { type: 'hello', version: 1, project: 'p', token: 't', clientId: 'c', sdk: 's' };
  const hostile: unknown[] = [
    null,
    [],
    'hello',
    1,
    {},
    { type: 'welcome' },
    { type: 'ping' },
    { type: 'ping', nonce: -1 },
    { type: 'ping', nonce: 1.5 },
    { type: 'ping', nonce: '1' },
    { type: 'ping', nonce: 1, extra: 1 },
    { type: 'applied', epoch: 0, lsn: '0/1' },
    { type: 'applied', epoch: 1, lsn: '0' },
    { type: 'applied', epoch: 1, lsn: 1 },
    { type: ['ping'], nonce: 1 },
    { ...hello, version: 1e300 },
    { ...hello, token: 5 },
    { ...hello, token: '\ud800' },
    { ...hello, resume: {} },
    { ...hello, resume: { epoch: 1, lsn: '0/1', buckets: ['xyz'] } },
    { ...hello, resume: { epoch: 1, lsn: '0/1', buckets: [7] } },
    { ...hello, resume: { epoch: 1, lsn: '0/1', buckets: [], more: 1 } },
  ];
  it.each(hostile.map((value) => [JSON.stringify(value)]))('refuses %s', (text) => {
    expect(() => clientMessageFromJson(text)).toThrow(MalformedBytesError);
  });
  it('refuses text that is no JSON, and keys that are not the message’s own', () => {
    expect(() => clientMessageFromJson('{')).toThrow(MalformedBytesError);
    expect(() => clientMessageFromJson('{"type":"ping","nonce":1,"__proto__":{}}')).toThrow(MalformedBytesError);
    expect(() => clientMessageFromJson('['.repeat(100_000))).toThrow(MalformedBytesError);
  });
});

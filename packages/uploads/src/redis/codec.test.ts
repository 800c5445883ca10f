import { ByteReader, MalformedBytesError, parseProjectId } from '@sluice/domain';
import { expect, it } from 'vitest';
import { type Answer, decodeRequest, decodeResponse, encodeRequest, encodeResponse, type Request } from './codec.ts';

const project = parseProjectId(7);
const requests: Request[] = [
  { from: 'gateway', id: 3, question: { kind: 'state', project } },
  {
    from: 'gateway',
    id: 2 ** 40,
    question: {
      kind: 'write',
      upload: {
        ...{
          project,
          ref: 'demo',
          subject: 'ann ✈',
          clientId: '0198c0de-0000-7000-8000-000000000001',
          seq: 5,
          refusalsKept: 4,
        },
        ...{
          claims: { role: 'crew', airports: ['SFO'] },
          transactions: [Uint8Array.of(1, 2, 0, 255), new Uint8Array(0)],
        },
      },
    },
  },
];
const answers: Answer[] = [
  { kind: 'write', result: 'recorded', code: '', expected: 6 },
  { kind: 'write', result: 'gap', code: '', expected: 2 },
  { kind: 'write', result: 'retry', code: 'WRITES_BUSY', expected: 5 },
  { kind: 'state', state: 'enabled', code: '' },
  { kind: 'state', state: 'unavailable', code: 'WRITES_ROLE_UNSAFE' },
  { kind: 'error', code: 'WRITE_CLIENT_FOREIGN' },
];

it('what is asked and answered comes back as it was', () => {
  for (const request of requests) expect(decodeRequest(new ByteReader(encodeRequest(request)))).toEqual(request);
  for (const answer of answers)
    expect(decodeResponse(new ByteReader(encodeResponse({ id: 9, answer })))).toEqual({ id: 9, answer });
});

it('bytes that are cut off, too many or of another version are malformed, and nothing else', () => {
  const all = [
    ...requests.map((request) => ({ bytes: encodeRequest(request), decode: decodeRequest })),
    ...answers.map((answer) => ({ bytes: encodeResponse({ id: 9, answer }), decode: decodeResponse })),
  ];
  for (const { bytes, decode } of all) {
    for (let end = 0; end < bytes.length; end++)
      expect(() => decode(new ByteReader(bytes.subarray(0, end)))).toThrow(MalformedBytesError);
    expect(() => decode(new ByteReader(Uint8Array.of(...bytes, 0)))).toThrow(MalformedBytesError);
    expect(() => decode(new ByteReader(Uint8Array.of(2, ...bytes.subarray(1))))).toThrow(MalformedBytesError);
  }
});

import { MalformedBytesError } from '@sluice/domain';
import { randomFrom, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { decodeClientMessage, decodeServerMessage, encodeClientMessage, encodeServerMessage } from './codec.ts';
import { clientSamples, serverSamples } from './samples.fixture.ts';

const clientBytes = clientSamples.map(encodeClientMessage);
const serverBytes = serverSamples.map(encodeServerMessage);

/** Any bytes give a message or a MalformedBytesError, and what is read is written the same way. */
function survives<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T, encode: (message: T) => Uint8Array): boolean {
  let message: T;
  try {
    message = decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedBytesError);
    return false;
  }
  expect(decode(encode(message))).toEqual(message);
  return true;
}

describe('messages as bytes', () => {
  it('every message comes back as it was', () => {
    expect(clientBytes.map(decodeClientMessage)).toEqual(clientSamples);
    expect(serverBytes.map(decodeServerMessage)).toEqual(serverSamples);
  });

  it('a message is read in place: from the middle of a larger buffer too', () => {
    for (const [i, bytes] of serverBytes.entries()) {
      const larger = new Uint8Array(bytes.length + 20).fill(0xff);
      larger.set(bytes, 7);
      expect(decodeServerMessage(larger.subarray(7, 7 + bytes.length))).toEqual(serverSamples[i]);
    }
  });

  it('every truncation and every trailing byte is refused', () => {
    for (const bytes of clientBytes) {
      for (let length = 0; length < bytes.length; length++)
        expect(() => decodeClientMessage(bytes.subarray(0, length))).toThrow(MalformedBytesError);
      expect(() => decodeClientMessage(new Uint8Array([...bytes, 0]))).toThrow(MalformedBytesError);
    }
    for (const bytes of serverBytes) {
      for (let length = 0; length < bytes.length; length++)
        expect(() => decodeServerMessage(bytes.subarray(0, length))).toThrow(MalformedBytesError);
      expect(() => decodeServerMessage(new Uint8Array([...bytes, 0]))).toThrow(MalformedBytesError);
    }
  });

  it('one side does not take the other side’s messages', () => {
    for (const bytes of serverBytes) expect(() => decodeClientMessage(bytes)).toThrow(MalformedBytesError);
    for (const bytes of clientBytes) expect(() => decodeServerMessage(bytes)).toThrow(MalformedBytesError);
  });

  it('a count that cannot be true is refused before anything is made of it', () => {
    // checkpoint: epoch 1, lsn 0, time 0, no reset, then 2^49 buckets to drop.
    const bytes = new Uint8Array([66, 1, ...new Array<number>(16).fill(0), 0, 255, 255, 255, 255, 255, 255, 127]);
    expect(() => decodeServerMessage(bytes)).toThrow('impossible count');
  });

  it('a flag is 0 or 1', () => {
    const bytes = encodeServerMessage({ type: 'error', code: 'X', message: '', remedy: '', fatal: true });
    bytes[bytes.length - 1] = 2;
    expect(() => decodeServerMessage(bytes)).toThrow('unknown flag');
  });

  it('flipped, cut and joined bytes give a message or a typed error', () => {
    const random = randomFrom(seededRandom().seed);
    const all = [...clientBytes, ...serverBytes];
    let understood = 0;
    for (let i = 0; i < 8_000; i++) {
      const bytes = random.pick(all).slice(0, random.chance(0.3) ? random.int(0, 60) : undefined);
      for (let flips = random.int(1, 4); flips > 0 && bytes.length > 0; flips--)
        bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
      if (survives(bytes, decodeClientMessage, encodeClientMessage)) understood++;
      if (survives(bytes, decodeServerMessage, encodeServerMessage)) understood++;
    }
    expect(understood).toBeGreaterThan(100);
  });
});

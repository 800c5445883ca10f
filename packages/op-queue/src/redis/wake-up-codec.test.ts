import {
  type BucketId,
  ByteReader,
  ByteWriter,
  type Epoch,
  type LookupId,
  type Lsn,
  MalformedBytesError,
  type ProjectId,
  SEQ_BARRIER,
  type StreamNo,
} from '@sluice/domain';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import type { WakeUp } from '../port.ts';
import { readWakeUp, writeWakeUp } from './wake-up-codec.ts';

const project = 2_147_483_647 as ProjectId;
const examples: readonly WakeUp[] = [
  {
    kind: 'checkpoint',
    project,
    checkpoint: { epoch: 3 as Epoch, lsn: 0x7fffffffffffffffn as Lsn, committedAtMs: 1_900_000_000_000 },
    previousLsn: 0n as Lsn,
    shards: 4,
    inUse: [1 as StreamNo, 70_000 as StreamNo],
    buckets: ['00112233445566778899aabbccddeeff' as BucketId],
    lookups: ['ffeeddccbbaa99887766554433221100' as LookupId, '00000000000000000000000000000000' as LookupId],
    truncated: [1 as StreamNo, 300 as StreamNo],
  },
  {
    kind: 'changed',
    project,
    epoch: 3 as Epoch,
    shard: 2,
    after: 7n as Lsn,
    through: 0x7fffffffffffffffn as Lsn,
    buckets: ['00112233445566778899aabbccddeeff' as BucketId],
    lookups: ['ffeeddccbbaa99887766554433221100' as LookupId],
    truncated: [300 as StreamNo],
  },
  { kind: 'applied', project, epoch: 1 as Epoch, shard: 3, position: { lsn: 5n as Lsn, seq: SEQ_BARRIER } },
  { kind: 'gap', project, epoch: 9 as Epoch, shard: 0 },
  {
    kind: 'snapshot-part',
    project,
    streams: [4 as StreamNo],
    table: 'public.Ürlaub',
    part: 70_000,
    outcome: 'refused',
  },
  { kind: 'streams', project },
  { kind: 'project', project },
];

const encode = (wakeUp: WakeUp): Uint8Array => {
  const out = new ByteWriter();
  writeWakeUp(out, wakeUp);
  return out.take();
};
const decode = (bytes: Uint8Array): WakeUp => readWakeUp(new ByteReader(bytes));

describe('wake-ups as bytes', () => {
  it.each(examples)('$kind comes back as it was', (wakeUp) => {
    expect(decode(encode(wakeUp))).toEqual(wakeUp);
  });

  it('cut anywhere or with a byte too many, it is malformed', () => {
    for (const wakeUp of examples) {
      const bytes = encode(wakeUp);
      for (let end = 0; end < bytes.length; end++)
        expect(() => decode(bytes.subarray(0, end))).toThrow(MalformedBytesError);
      expect(() => decode(Uint8Array.of(...bytes, 0))).toThrow(MalformedBytesError);
    }
  });

  it('any bytes give a wake-up or a typed error', () => {
    const random = seededRandom(7);
    for (let run = 0; run < 5_000; run++) {
      const bytes = Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, 255));
      if (bytes.length > 1) bytes.set([2, random.int(0, 7)]);
      try {
        decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedBytesError);
      }
    }
  });

  it('the form is version 3: a change of these bytes raises the version', () => {
    expect(examples.map((wakeUp) => Buffer.from(encode(wakeUp)).toString('hex'))).toMatchInlineSnapshot(`
      [
        "0300ffffffff0703ffffffffffffff7f80f0cc86a6370000000000000000040201f0a2040100112233445566778899aabbccddeeff02ffeeddccbbaa99887766554433221100000000000000000000000000000000000201ac02",
        "0306ffffffff0703020700000000000000ffffffffffffff7f0100112233445566778899aabbccddeeff01ffeeddccbbaa9988776655443322110001ac02",
        "0301ffffffff0701030500000000000000ffffffffffff3f",
        "0302ffffffff070900",
        "0303ffffffff0701040e7075626c69632ec39c726c617562f0a20401",
        "0304ffffffff07",
        "0305ffffffff07",
      ]
    `);
  });
});

import { MalformedBytesError, SEQ_PER_ORDINAL, type StreamNo } from '@sluice/domain';
import { CODEC_DEFLATE_RAW } from '@sluice/protocol';
import { describe, expect, test } from 'vitest';
import type { StoredChunk } from '../port.ts';
import type { SuiteContext } from './conformance.ts';
import { bucketId, chunk, lookupId, lsn, member, StoreDriver, textOf, truncate } from './store-driver.ts';

export function describeReads(context: SuiteContext): void {
  const serving = async (): Promise<{ driver: StoreDriver; stream: StreamNo }> => {
    const driver = new StoreDriver(context.store(), context.project());
    return { driver, stream: await driver.serve() };
  };

  describe('reads as of a checkpoint', () => {
    test('L5: a checkpoint shows what is at or below it, whatever is applied later', async () => {
      const { driver, stream } = await serving();
      for (const at of [110, 120, 130]) await driver.barrier(at, { chunks: [chunk(stream, 1, `at ${at}`)] });
      expect(await driver.read(stream, [1], { through: 120 })).toEqual(['at 110', 'at 120']);
      expect(await driver.read(stream, [1], { after: 110, through: 130 })).toEqual(['at 120', 'at 130']);
      expect(await driver.read(stream, [1], { after: 130, through: 130 })).toEqual([]);
      expect(await driver.read(stream, [2], { through: 130 })).toEqual([]);
    });

    test('chunks come back as they were written', async () => {
      const { driver, stream } = await serving();
      const written = chunk(stream, 0xabc, 'text', {
        ops: 7,
        rowsDelta: -3,
        checksumDelta: 2n ** 64n - 1n,
        codec: CODEC_DEFLATE_RAW,
        payloadBytes: 4000,
        directory: Uint8Array.from({ length: 256 }, (_, i) => i),
        payload: Uint8Array.from({ length: 9000 }, (_, i) => i % 251),
      });
      const end = { lsn: lsn(110), seq: 5 * SEQ_PER_ORDINAL };
      await driver.barrier(110, { end, chunks: [chunk(stream, 5, 'other'), written] });
      const page = await driver.store.readChunks(driver.project, {
        buckets: [{ stream, bucket: bucketId(0xabc) }],
        after: lsn(0),
        through: lsn(110),
        bytesMax: 1 << 20,
        cursor: undefined,
      });
      const plain = (one: StoredChunk) => ({ ...one, directory: [...one.directory], payload: [...one.payload] });
      expect(page.chunks.map(plain)).toEqual([plain({ ...written, position: end, part: 1 })]);
    });

    test('the bytes of a commit may be reused once it has settled', async () => {
      const { driver, stream } = await serving();
      const payload = new TextEncoder().encode('mine');
      await driver.barrier(110, { chunks: [chunk(stream, 1, '', { payload })] });
      payload.fill(0);
      expect(await driver.read(stream, [1], { through: 110 })).toEqual(['mine']);
    });

    test('L16: pages are bounded by bytes, advance always, and together give everything once, in order', async () => {
      const { driver, stream } = await serving();
      const wanted: string[] = [];
      for (const at of [110, 120, 130])
        await driver.barrier(at, { chunks: [3, 1, 2].map((bucket) => chunk(stream, bucket, `${bucket} at ${at}`)) });
      for (const bucket of [1, 2, 3]) for (const at of [110, 120, 130]) wanted.push(`${bucket} at ${at}`);
      for (const bytesMax of [1, 25, 1000]) {
        const request = {
          buckets: [3, 2, 1, 3].map((bucket) => ({ stream, bucket: bucketId(bucket) })),
          after: lsn(0),
          through: lsn(130),
          bytesMax,
        };
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await driver.store.readChunks(driver.project, { ...request, cursor });
          const bytes = page.chunks
            .slice(0, -1)
            .reduce((sum, { payload, directory }) => sum + payload.length + directory.length, 0);
          expect(bytes).toBeLessThan(bytesMax);
          seen.push(...page.chunks.map(textOf));
          cursor = page.next;
        } while (cursor !== undefined);
        expect(seen).toEqual(wanted);
      }
      const bad = { buckets: [], after: lsn(0), through: lsn(1), bytesMax: 1, cursor: "1.'; drop table x" };
      await expect(driver.store.readChunks(driver.project, bad)).rejects.toBeInstanceOf(MalformedBytesError);
    });

    test('L9: sums count every chunk at or below the checkpoint, mod 2^64', async () => {
      const { driver, stream } = await serving();
      const big = 2n ** 64n - 1n;
      await driver.barrier(110, {
        chunks: [chunk(stream, 1, 'a', { checksumDelta: big, rowsDelta: 5 }), chunk(stream, 2, 'b')],
      });
      await driver.barrier(120, { chunks: [chunk(stream, 1, 'c', { checksumDelta: 3n, rowsDelta: -1 })] });
      const refs = [1, 2, 3].map((bucket) => ({ stream, bucket: bucketId(bucket) }));
      const sums = (through: number) => driver.store.readSums(driver.project, refs, lsn(through));
      expect(await sums(110)).toEqual(
        new Map([
          [bucketId(1), { checksum: big, rows: 5 }],
          [bucketId(2), { checksum: 1n, rows: 1 }],
        ]),
      );
      expect((await sums(120)).get(bucketId(1))).toEqual({ checksum: 2n, rows: 4 });
    });

    test('a TRUNCATE voids what is below it, in chunks, late copies and sums, from its checkpoint on', async () => {
      const { driver, stream } = await serving();
      await driver.barrier(110, { chunks: [chunk(stream, 1, 'before', { checksumDelta: 50n })] });
      await driver.barrier(120, {
        chunks: [chunk(stream, 1, 'after', { checksumDelta: 7n })],
        truncates: [truncate(stream, 120, 2 * SEQ_PER_ORDINAL)],
      });
      expect(await driver.read(stream, [1], { through: 110 })).toEqual(['before']);
      expect(await driver.read(stream, [1], { through: 120 })).toEqual(['after']);
      const ref = { stream, bucket: bucketId(1) };
      const sums = await driver.store.readSums(driver.project, [ref], lsn(120));
      expect(sums.get(ref.bucket)).toEqual({ checksum: 7n, rows: 1 });
      const truncated = (after: number, through: number) =>
        driver.store.readTruncated(driver.project, [stream], lsn(after), lsn(through));
      expect(await truncated(110, 120)).toEqual([stream]);
      expect(await truncated(100, 110)).toEqual([]);
      expect(await truncated(120, 130)).toEqual([]);
    });

    test('L6: membership is the newest op per row as of the checkpoint, without duplicates', async () => {
      const { driver, stream } = await serving();
      const at = (commit: number, seq = 1) => ({ lsn: lsn(commit), seq });
      const op = (commit: number, seq: number, row: string, value: string, present = true) =>
        member(stream, { at: at(commit, seq), row, value, present });
      await driver.barrier(110, {
        memberships: [
          op(110, 1, 'r1', 'x'),
          op(110, 2, 'r2', 'x'),
          op(110, 3, 'r3', 'bytes \u0000\u00ff'),
          member(stream, { at: at(110), row: 'r1', value: 'other', lookup: 2 }),
          member(stream, { at: at(110), row: 'r1', value: 'set', membership: 1 }),
        ],
      });
      await driver.barrier(120, { memberships: [op(120, 1, 'r1', 'x', false), op(120, 2, 'r1', 'y')] });
      await driver.barrier(130, { memberships: [op(130, 1, 'r2', 'x', false)] });
      expect(await driver.members(stream, 110)).toEqual(['bytes \u0000\u00ff', 'x']);
      expect(await driver.members(stream, 120)).toEqual(['bytes \u0000\u00ff', 'x', 'y']);
      expect(await driver.members(stream, 130)).toEqual(['bytes \u0000\u00ff', 'y']);
      expect(await driver.members(stream, 130, 2)).toEqual(['other']);
      expect(await driver.members(stream, 130, 1, 1)).toEqual(['set']);
      expect(await driver.members(stream, 130, 3)).toEqual([]);
    });

    test('L13: every value that an op named in a range is touched, and a TRUNCATE touches all there were', async () => {
      const { driver, stream } = await serving();
      const op = (commit: number, row: string, value: string, present = true) =>
        member(stream, { at: { lsn: lsn(commit), seq: 1 }, row, value, present });
      await driver.barrier(110, { memberships: [op(110, 'r1', 'x'), op(110, 'r2', 'y')] });
      await driver.barrier(120, { memberships: [op(120, 'r1', 'x', false)] });
      await driver.barrier(130, { truncates: [truncate(stream, 130, 1, 0)] });
      await driver.barrier(140, { memberships: [op(140, 'r3', 'z')] });
      const ref = { stream, membership: 0, lookup: lookupId(1) };
      const touched = async (after: number, through: number) => {
        const found = await driver.store.readMembershipTouched(driver.project, [ref], lsn(after), lsn(through));
        return found.get(ref.lookup) ?? [];
      };
      expect(await touched(110, 120)).toEqual(['x']);
      expect(await touched(120, 130)).toEqual(['x', 'y']);
      expect(await touched(130, 140)).toEqual(['z']);
      expect(await touched(140, 150)).toEqual([]);
      expect(await driver.members(stream, 130)).toEqual([]);
      expect(await driver.members(stream, 140)).toEqual(['z']);
      expect(await driver.store.readTruncated(driver.project, [stream], lsn(0), lsn(140))).toEqual([]);
    });

    test('L13: one project reads nothing of another, though ids are equal', async () => {
      const { driver, stream } = await serving();
      await driver.barrier(110, {
        chunks: [chunk(stream, 1, 'mine')],
        memberships: [member(stream, { at: { lsn: lsn(110), seq: 1 }, row: 'r', value: 'mine' })],
      });
      const other = await serving();
      expect(other.stream).toBe(stream);
      await other.driver.barrier(110);
      expect(await other.driver.read(stream, [1], { through: 200 })).toEqual([]);
      expect(await other.driver.members(stream, 200)).toEqual([]);
      const ref = { stream, bucket: bucketId(1) };
      expect((await other.driver.store.readSums(other.driver.project, [ref], lsn(200))).size).toBe(0);
      expect(await other.driver.store.readIssues(other.driver.project)).toEqual([]);
    });
  });
}

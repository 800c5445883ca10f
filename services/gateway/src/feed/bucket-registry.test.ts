import type { BucketId, Lsn, StreamNo } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { BucketRegistry, versionAt } from './bucket-registry.ts';

const lsn = (n: number): Lsn => BigInt(n) as Lsn;
const bucket = (n: number): BucketId => n.toString(16).padStart(7, '0').padEnd(32, '0') as BucketId;
const ref = (n: number) => ({ stream: 1 as StreamNo, bucket: bucket(n) });

describe('known buckets', () => {
  it('a bucket that nobody holds for a while keeps its version, so that what was encoded for it still fits', () => {
    const registry = new BucketRegistry();
    registry.retain(ref(1), lsn(100));
    registry.recordChange(bucket(1), lsn(150));
    registry.release(bucket(1));
    expect(registry.size).toBe(0);
    registry.retain(ref(1), lsn(300));
    expect(versionAt(registry.get(bucket(1)), lsn(300))).toBe(lsn(150));
  });

  it('changes while nobody holds it count, and so does not knowing of them', () => {
    const registry = new BucketRegistry();
    registry.retain(ref(1), lsn(100));
    registry.release(bucket(1));
    registry.recordChange(bucket(1), lsn(200));
    registry.retain(ref(1), lsn(300));
    expect(versionAt(registry.get(bucket(1)), lsn(300))).toBe(lsn(200));
    registry.release(bucket(1));
    registry.forgetChanges(lsn(400));
    registry.retain(ref(1), lsn(400));
    expect(versionAt(registry.get(bucket(1)), lsn(450))).toBe(lsn(400));
  });

  it('L16: of those that nobody holds, a bounded number stays known', () => {
    const registry = new BucketRegistry();
    for (let i = 0; i < 10_001; i++) {
      registry.retain(ref(i), lsn(100));
      registry.release(bucket(i));
    }
    expect(() => registry.get(bucket(0))).toThrow();
    expect(registry.get(bucket(1)).no).toBeGreaterThanOrEqual(0);
    expect(registry.size).toBe(0);
  });
});

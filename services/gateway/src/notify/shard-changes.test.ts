import type { BucketId, Epoch, Lsn, ProjectId } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { ShardChanges, type ShardNews } from './shard-changes.ts';

const epoch = 3 as Epoch;
const bucket = (n: number): BucketId => String(n).padStart(32, '0') as BucketId;
function told(shard: number, after: number, through: number, change: Partial<ShardNews> = {}): ShardNews {
  const range = { after: BigInt(after) as Lsn, through: BigInt(through) as Lsn };
  const names = { buckets: [bucket(shard * 1000 + through)], lookups: [], truncated: [] };
  return { kind: 'changed', project: 1 as ProjectId, epoch, shard, ...range, ...names, ...change };
}
const stretch = (after: number, through: number) => ({ after: BigInt(after) as Lsn, through: BigInt(through) as Lsn });
const bucketsOf = (changes: ReturnType<ShardChanges['take']>) => changes && [...changes.buckets].sort();

describe('ShardChanges', () => {
  it('joins what the shards told of a checkpoint, and forgets it', () => {
    const changes = new ShardChanges();
    for (const news of [told(1, 100, 110), told(0, 100, 110), told(0, 110, 120)]) changes.note(news);
    expect(bucketsOf(changes.take(epoch, 2, stretch(100, 110)))).toEqual([bucket(110), bucket(1110)]);
    expect(changes.take(epoch, 2, stretch(110, 120))).toBeUndefined();
  });

  it('a checkpoint that was not heard of is made up for by the parts, whichever way they were cut', () => {
    const changes = new ShardChanges();
    for (const news of [told(0, 100, 105), told(0, 103, 120), told(1, 90, 110), told(1, 110, 130)]) changes.note(news);
    expect(bucketsOf(changes.take(epoch, 2, stretch(100, 120)))).toEqual(
      [bucket(105), bucket(120), bucket(1110), bucket(1130)].sort(),
    );
    // What reached beyond the checkpoint is told again at the next one.
    changes.note(told(0, 120, 130));
    expect(bucketsOf(changes.take(epoch, 2, stretch(120, 130)))).toEqual([bucket(130), bucket(1130)]);
  });

  it.each([
    ['a part of one shard is missing', [told(0, 100, 120), told(1, 110, 120)]],
    ['a shard told nothing', [told(0, 100, 120)]],
    ['the parts are of another epoch', [told(0, 100, 120), told(1, 100, 120, { epoch: 2 as Epoch })]],
  ])('when %s nobody may rely on the rest', (_, news) => {
    const changes = new ShardChanges();
    for (const one of news) changes.note(one);
    expect(changes.take(epoch, 2, stretch(100, 120))).toBeUndefined();
  });

  it('L16: what no checkpoint asks for is forgotten, oldest first', () => {
    const changes = new ShardChanges();
    for (let at = 0; at < 5_000; at++) changes.note(told(0, at, at + 1));
    expect(changes.take(epoch, 1, stretch(0, 5_000))).toBeUndefined();
    const few = new ShardChanges();
    few.note(told(0, 0, 1, { buckets: Array.from({ length: 600_000 }, (_, i) => bucket(i)) }));
    expect(few.take(epoch, 1, stretch(0, 1))).toBeUndefined();
  });
});

import type { BucketId, Epoch, LookupId, Lsn, StreamNo } from '@sluice/domain';
import type { WakeUp } from '@sluice/op-queue';

/** What one shard told of a stretch of the stream. */
export type ShardNews = Extract<WakeUp, { kind: 'changed' }>;

export interface Changes {
  readonly buckets: ReadonlySet<BucketId>;
  readonly lookups: ReadonlySet<LookupId>;
  readonly truncated: ReadonlySet<StreamNo>;
}

/** News kept until their checkpoint, and names in them; forgetting some only costs a full look. */
const NEWS_MAX = 4_096;
const NAMES_MAX = 500_000;

/** Puts together what the shards of an epoch told each of its own part. */
export class ShardChanges {
  private news: ShardNews[] = [];
  private names = 0;

  note(news: ShardNews): void {
    this.news.push(news);
    this.names += namesOf(news);
    while (this.news.length > NEWS_MAX || this.names > NAMES_MAX) {
      const oldest = this.news.shift();
      this.names -= oldest ? namesOf(oldest) : 0;
    }
  }

  /**
   * What all shards changed in (after, through], or more; undefined when a part of it was not told. Forgets what lies at or
   * below `through`.
   */
  take(epoch: Epoch, shards: number, stretch: { readonly after: Lsn; readonly through: Lsn }): Changes | undefined {
    const { after, through } = stretch;
    const concerned = this.news.filter((news) => news.epoch === epoch && news.after < through && news.through > after);
    this.news = this.news.filter((news) => news.epoch >= epoch && news.through > through);
    this.names = this.news.reduce((sum, news) => sum + namesOf(news), 0);
    for (let shard = 0; shard < shards; shard++) {
      const told = concerned.filter((news) => news.shard === shard);
      if (!isCovered(told, after, through)) return undefined;
    }
    return {
      buckets: new Set(concerned.flatMap((news) => news.buckets)),
      lookups: new Set(concerned.flatMap((news) => news.lookups)),
      truncated: new Set(concerned.flatMap((news) => news.truncated)),
    };
  }
}

/** Stretches may overlap, since a part of the stream that comes again is cut anew. */
function isCovered(stretches: readonly ShardNews[], after: Lsn, through: Lsn): boolean {
  let covered = after;
  for (const stretch of [...stretches].sort((a, b) => (a.after < b.after ? -1 : a.after > b.after ? 1 : 0))) {
    if (stretch.after > covered) return false;
    if (stretch.through > covered) covered = stretch.through;
  }
  return covered >= through;
}

function namesOf({ buckets, lookups }: ShardNews): number {
  return buckets.length + lookups.length;
}

import { MalformedBytesError } from '@sluice/domain';
import { isReply, type RedisLink } from '@sluice/redis-link';
import { CONSUMER, GROUP, type ShardKeys } from './keys.ts';

/** An entry of a shard's stream as it came; `encoded` is undefined for one that is not ours. */
export interface Entry {
  readonly id: string;
  readonly bytes: number;
  readonly encoded: Uint8Array | undefined;
}

/** One read should bring about so much; frames vary from a few bytes to megabytes. */
const READ_BYTES = 4 << 20;
const READ_ENTRIES_MAX = 250;
const READ_ENTRIES_FIRST = 16;
const START = '0-0';

/**
 * Reads one shard's stream as its only consumer. What was taken before and not removed comes first: at the start all of it,
 * after a lost answer what came after the last entry seen.
 */
export class ShardReader {
  private readonly link: RedisLink;
  private readonly keys: ShardKeys;
  private readonly blockMs: number;
  private isPending = true;
  private lastId = START;
  private entries = READ_ENTRIES_FIRST;

  constructor(link: RedisLink, keys: ShardKeys, blockMs: number) {
    this.link = link;
    this.keys = keys;
    this.blockMs = blockMs;
  }

  /** Gives the next entries, none when there were none for a while. @throws Error of the link; read again after it */
  async next(): Promise<readonly Entry[]> {
    try {
      const entries = await this.read();
      // In turns: what Redis gave to a dead link of this consumer shows as pending, and would otherwise wait for a gap.
      if (entries.length === 0) this.isPending = !this.isPending;
      this.learn(entries);
      return entries;
    } catch (error) {
      this.isPending = true;
      if (!isMissing(error)) throw error;
      await this.createGroup();
      return [];
    }
  }

  /** Gives again what was taken and is not removed. */
  rewind(): void {
    this.isPending = true;
    this.lastId = START;
  }

  private async read(): Promise<readonly Entry[]> {
    const where = this.isPending ? this.lastId : '>';
    // A read of pending entries never blocks.
    const wait = this.isPending ? [] : ['BLOCK', this.blockMs];
    const what = ['GROUP', GROUP, CONSUMER, 'COUNT', this.entries, ...wait, 'STREAMS', this.keys.frames, where];
    return parseReply(await this.link.call('XREADGROUP', what));
  }

  private learn(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (!last) return;
    this.lastId = last.id;
    const bytes = entries.reduce((sum, { encoded }) => sum + (encoded?.length ?? 0), 0);
    const fitting = Math.floor((READ_BYTES * entries.length) / Math.max(1, bytes));
    this.entries = Math.max(1, Math.min(READ_ENTRIES_MAX, fitting));
  }

  /** Redis was emptied or is new: everything that is there now has not been taken. */
  private async createGroup(): Promise<void> {
    this.lastId = START;
    try {
      await this.link.call('XGROUP', ['CREATE', this.keys.frames, GROUP, '0', 'MKSTREAM']);
    } catch (error) {
      if (!isReply(error, 'BUSYGROUP')) throw error;
    }
  }
}

/** The stream or its group is gone, or went while we waited. */
function isMissing(error: unknown): boolean {
  return isReply(error, 'NOGROUP') || isReply(error, 'UNBLOCKED');
}

/** [[key, [[id, [name, value, ...]], ...]]], or null. An entry that was removed since it was taken has no fields. */
function parseReply(reply: unknown): readonly Entry[] {
  if (reply === null) return [];
  const [stream] = arrayFrom(reply);
  const [, entries] = arrayFrom(stream);
  return arrayFrom(entries).map((entry) => {
    const [id, fields] = arrayFrom(entry);
    return { id: String(id), ...entryFields(fields) };
  });
}

function entryFields(fields: unknown): Pick<Entry, 'bytes' | 'encoded'> {
  const values = Array.isArray(fields) ? fields : [];
  const bytes = Number(String(values[1] ?? 0));
  const encoded: unknown = values[3];
  return {
    bytes: Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : 0,
    encoded: encoded instanceof Uint8Array ? encoded : undefined,
  };
}

function arrayFrom(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new MalformedBytesError('not a reply of a stream');
  return value;
}

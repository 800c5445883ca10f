import type { Clock } from '@sluice/domain';
import type { RedisLink } from '@sluice/redis-link';
import { GROUP, type ShardKeys } from './keys.ts';
import { recover } from './retry.ts';
import { REMOVE } from './scripts.ts';
import type { ShardRoom } from './shard-room.ts';

const COMMAND_IDS_MAX = 500;

interface Removal {
  readonly id: string;
  readonly bytes: number;
}

/**
 * Removes what is done from one shard, tried until Redis says so: an entry that stayed would hold its room. Bounded by what
 * was taken.
 */
export class ShardRemovals {
  private readonly options: {
    readonly link: RedisLink;
    readonly keys: ShardKeys;
    readonly room: ShardRoom;
    readonly clock: Clock;
    readonly closed: AbortSignal;
  };
  /** Taken in this process and not yet removed: not to be taken here a second time. */
  readonly held = new Set<string>();
  private waiting: Removal[] = [];
  private running: Promise<void> | undefined;

  constructor(options: ShardRemovals['options']) {
    this.options = options;
  }

  add(id: string, bytes: number): void {
    this.waiting.push({ id, bytes });
    this.running ??= Promise.resolve().then(() => this.run());
  }

  /** Resolves when everything that was added is removed, or the shard is closed. */
  async settled(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    const { link, keys, clock, closed } = this.options;
    let failures = 0;
    while (this.waiting.length > 0 && !closed.aborted) {
      const batch = this.waiting.slice(0, COMMAND_IDS_MAX);
      try {
        await this.remove(batch);
        this.waiting = this.waiting.slice(batch.length);
        for (const { id } of batch) this.held.delete(id);
        failures = 0;
      } catch (error) {
        await recover(error, { link, keys, clock, failures: ++failures }, closed);
      }
    }
    this.running = undefined;
  }

  private async remove(batch: readonly Removal[]): Promise<void> {
    const { link, keys, room } = this.options;
    const args = batch.flatMap(({ id, bytes }) => [id, bytes]);
    const reply = await link.run(REMOVE, [keys.frames, keys.bytes], [GROUP, ...args]);
    const [used = 0, entries = 0] = reply as number[]; // What the script returns.
    room.note(used, entries);
  }
}

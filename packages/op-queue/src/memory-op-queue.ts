import type { ProjectId } from '@sluice/domain';
import type { Frame } from './frame.ts';
import type { OpQueue, TakenFrame } from './port.ts';

export interface MemoryOpQueueOptions {
  /** Bytes of `changes` per (project, shard) that are queued or taken and not yet done. */
  readonly bytesMaxPerShard: number;
}

/**
 * The op queue within one process: frames are handed over, not copied. A frame that is larger than the bound is let in
 * when its shard is empty.
 */
export function createMemoryOpQueue(options: MemoryOpQueueOptions): OpQueue {
  const shards = new Map<string, ShardQueue>();
  const shardQueue = (project: ProjectId, shard: number): ShardQueue => {
    const key = `${project} ${shard}`;
    const queue = shards.get(key) ?? new ShardQueue(project, options.bytesMaxPerShard);
    shards.set(key, queue);
    return queue;
  };
  return {
    publish: (frame, signal) => shardQueue(frame.project, frame.shard).publish(frame, signal),
    take: (project, shard, signal) => shardQueue(project, shard).take(signal),
    async clear(project) {
      for (const queue of shards.values()) if (queue.project === project) queue.clear();
    },
    isEmpty: async (project, shard) => shardQueue(project, shard).isEmpty,
  };
}

class ShardQueue {
  readonly project: ProjectId;
  private readonly bytesMax: number;
  private frames: Frame[] = [];
  private bytes = 0;
  /** Raised by `clear`: room held by frames taken before it was already given back. */
  private generation = 0;
  /** Handed over and not done. */
  private takenCount = 0;
  /** Publishers that wait, in order of arrival; calling one makes it look whether there is room. */
  private publishers: (() => void)[] = [];
  private wakeTaker: (() => void) | undefined;

  constructor(project: ProjectId, bytesMax: number) {
    this.project = project;
    this.bytesMax = bytesMax;
  }

  get isEmpty(): boolean {
    return this.frames.length === 0 && this.publishers.length === 0 && this.takenCount === 0;
  }

  async publish(frame: Frame, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.publishers.length === 0 && this.hasRoom(frame)) this.add(frame);
    else await this.addWhenRoom(frame, signal);
  }

  async *take(signal: AbortSignal): AsyncGenerator<TakenFrame> {
    while (!signal.aborted) {
      const frame = this.frames.shift();
      if (frame) yield this.taken(frame);
      else await this.frameOrAbort(signal);
    }
  }

  clear(): void {
    this.generation++;
    this.frames = [];
    this.bytes = 0;
    this.takenCount = 0;
    this.publishers[0]?.();
  }

  private hasRoom(frame: Frame): boolean {
    return this.bytes === 0 || this.bytes + frame.changes.length <= this.bytesMax;
  }

  private add(frame: Frame): void {
    this.bytes += frame.changes.length;
    this.frames.push(frame);
    this.wakeTaker?.();
  }

  /** Publishers are admitted in order of arrival: only the first in line looks, and the next one after it was let in. */
  private addWhenRoom(frame: Frame, signal: AbortSignal): Promise<void> {
    const { generation } = this;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        signal.removeEventListener('abort', abort);
        const at = this.publishers.indexOf(look);
        if (at !== -1) this.publishers.splice(at, 1);
      };
      const look = (): void => {
        const isForgotten = generation !== this.generation;
        if (!isForgotten && !this.hasRoom(frame)) return;
        leave();
        if (!isForgotten) this.add(frame);
        resolve();
        this.publishers[0]?.();
      };
      const abort = (): void => {
        leave();
        reject(signal.reason);
        this.publishers[0]?.();
      };
      this.publishers.push(look);
      signal.addEventListener('abort', abort);
    });
  }

  private taken(frame: Frame): TakenFrame {
    const { generation } = this;
    this.takenCount++;
    let isDone = false;
    return {
      frame,
      done: () => {
        if (isDone || generation !== this.generation) return;
        isDone = true;
        this.takenCount--;
        this.bytes -= frame.changes.length;
        this.publishers[0]?.();
      },
    };
  }

  private frameOrAbort(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.wakeTaker = undefined;
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.wakeTaker = wake;
      signal.addEventListener('abort', wake);
    });
  }
}

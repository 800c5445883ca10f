import type { BucketStore } from '@sluice/bucket-store';
import { AppError } from '@sluice/errors';

/** Reads that a test can hold back or let fail. */
export class Sluicegate {
  private waiting: (() => void)[] | undefined;
  isDown = false;
  reads = 0;

  hold(): void {
    this.waiting = [];
  }
  release(): void {
    for (const resolve of this.waiting ?? []) resolve();
    this.waiting = undefined;
  }
  over(store: BucketStore): BucketStore {
    return new Proxy(store, {
      get: (target, name: keyof BucketStore) => {
        const method = target[name];
        if (!name.startsWith('read')) return method.bind(target);
        return async (...given: unknown[]) => {
          this.reads++;
          if (this.isDown) throw new AppError('STORE_UNAVAILABLE');
          if (name === 'readChunks' && this.waiting) await new Promise<void>((resolve) => this.waiting?.push(resolve));
          return Reflect.apply(method, target, given);
        };
      },
    });
  }
  get isHolding(): boolean {
    return (this.waiting?.length ?? 0) > 0;
  }
}

/** A Web Lock that is held. The browser frees it when its worker ends, however that happens. */
export interface HeldLock {
  /** Resolves when somebody stole it; never rejects. */
  readonly lost: Promise<void>;
  release(): void;
}

/**
 * Waits in line for the lock, or takes it from whoever holds it.
 * @returns undefined when the signal was aborted first
 */
export function requestLock(
  name: string,
  options: { readonly signal: AbortSignal } | { readonly steal: true },
): Promise<HeldLock | undefined> {
  return new Promise((resolve) => {
    let lose = (): void => undefined;
    const lost = new Promise<void>((done) => {
      lose = done;
    });
    const request = navigator.locks.request(
      name,
      options,
      () => new Promise<void>((release) => resolve({ lost, release })),
    );
    request.catch(() => {
      // Either it was stolen, or it was never granted and nobody waits for `lost`.
      lose();
      resolve(undefined);
    });
  });
}

/**
 * A named place between two durable steps. Services take it as a plain option and await it there; in production nobody
 * gives one. Shaped so that a service declares the type by itself, without importing the testkit.
 */
export type FaultPoint = (name: string) => Promise<void> | undefined;

/** One armed place: the next run through it stops there until the test decides how it goes on. */
export interface ArmedFault {
  /** Resolves when the code stands at the place. */
  readonly reached: Promise<void>;
  /** Lets the code go on. */
  release(): void;
  /** Makes the place throw, as if the step after it had failed. */
  fail(error?: Error): void;
}

export interface FaultPoints {
  /** Hand this to the service. */
  readonly point: FaultPoint;
  /** Stops the next run through `name`, once, or the one after `skip` more. Arm before the act. */
  arm(name: string, options?: { readonly skip?: number }): ArmedFault;
  /** How often the place was run through, armed or not. */
  passes(name: string): number;
  /** Lets everything go on that stands at a place, and forgets what is armed. */
  releaseAll(): void;
}

interface Held {
  /** Runs to let through before the one that stops. */
  skip: number;
  readonly arrive: () => void;
  readonly hold: Promise<void>;
  readonly fault: ArmedFault;
}

export function faultPoints(): FaultPoints {
  const passesByName = new Map<string, number>();
  const armedByName = new Map<string, Held[]>();
  const every = new Set<Held>();
  return {
    point(name) {
      passesByName.set(name, (passesByName.get(name) ?? 0) + 1);
      const armed = armedByName.get(name) ?? [];
      const [held] = armed;
      if (!held || held.skip-- > 0) return undefined;
      armed.shift();
      held.arrive();
      return held.hold;
    },
    arm(name, { skip = 0 } = {}) {
      const held = heldFault(name, skip);
      armedByName.set(name, [...(armedByName.get(name) ?? []), held]);
      every.add(held);
      return held.fault;
    },
    passes: (name) => passesByName.get(name) ?? 0,
    releaseAll() {
      armedByName.clear();
      for (const held of every) held.fault.release();
      every.clear();
    },
  };
}

function heldFault(name: string, skip: number): Held {
  let arrive = (): void => {};
  let release = (): void => {};
  let fail = (_error: Error): void => {};
  const reached = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const hold = new Promise<void>((resolve, reject) => {
    release = resolve;
    fail = reject;
  });
  // A fault that is made to fail before anybody stands there must not end the process.
  hold.catch(() => {});
  const fault: ArmedFault = {
    reached,
    release: () => release(),
    fail: (error = new Error(`fault at ${name}`)) => fail(error),
  };
  return { skip, arrive: () => arrive(), hold, fault };
}

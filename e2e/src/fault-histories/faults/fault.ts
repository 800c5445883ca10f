import type { Scene } from '../scene.ts';

/** One thing that goes wrong in a history. */
export interface Fault {
  /** Brings it about. */
  begin(): Promise<void>;
  /** Ends it, where it does not end by itself: from then on everything heals. */
  end(): Promise<void>;
  /** What it hit, asked after everything has converged; undefined when it hit nothing, so that the history does not count. */
  effect(): Promise<string | undefined>;
}

export type MakeFault = (scene: Scene) => Fault;

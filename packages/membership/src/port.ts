/** One live process of a kind, as it said of itself at its last beat. */
export interface Member {
  readonly id: string;
  /** It is being stopped: it takes nothing more and hands over what it holds. */
  readonly isLeaving: boolean;
  /** What it holds, by lease. */
  readonly held: readonly string[];
}

/**
 * Who else of my kind is alive. Only a hint about who should hold what: leases in the store decide who does, so a wrong
 * or a missing answer costs time, never data.
 */
export interface Membership {
  /**
   * Says that this process is alive, for the time to live that the adapter was made with, and what it holds; answers with
   * every live member, this one included, in order of id. @throws when nobody can be asked
   */
  beat(me: Omit<Member, 'id'>): Promise<readonly Member[]>;
  readonly id: string;
  /** Calls `listener` when another member's beat said something new; the returned function ends it. May miss some. */
  onChange(listener: () => void): () => void;
  /** Ends this process's membership at once, where that can still be said. */
  close(): Promise<void>;
}

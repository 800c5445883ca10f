import type { HeldState, StateChanges } from './frame-states.ts';

/** What an entry takes beside its image, about: two strings, an object and a place in a map. Bytes. */
const ENTRY_BYTES = 200;

/** Changes of more states than this come from a backlog. */
const SMALL_FRAME_STATES = 1000;

/** States that were read or written lately, bounded in bytes; the ones used longest ago go first. */
export class StateCache {
  private readonly bytesMax: number;
  private readonly byTable = new Map<string, Map<string, HeldState>>();
  /** Table and key, from the one used longest ago. */
  private readonly used = new Map<string, { readonly table: string; readonly key: string }>();
  private bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get(table: string, key: string): HeldState | undefined {
    const state = this.byTable.get(table)?.get(key);
    if (state) this.touch(table, key);
    return state;
  }

  set(table: string, key: string, state: HeldState): void {
    this.delete(table, key);
    const states = this.byTable.get(table) ?? new Map<string, HeldState>();
    this.byTable.set(table, states);
    states.set(key, state);
    this.bytes += bytesOf(key, state);
    this.touch(table, key);
    for (const oldest of this.used.values()) {
      if (this.bytes <= this.bytesMax) break;
      this.delete(oldest.table, oldest.key);
    }
  }

  delete(table: string, key: string): void {
    const states = this.byTable.get(table);
    const state = states?.get(key);
    if (!states || !state) return;
    states.delete(key);
    this.used.delete(`${table} ${key}`);
    this.bytes -= bytesOf(key, state);
  }

  /** What was written to the store is what the store has. */
  apply(changes: StateChanges): void {
    // States of large frames would only drive out what is used again and again.
    const isSmall = [...changes.values()].reduce((count, { changed }) => count + changed.size, 0) <= SMALL_FRAME_STATES;
    for (const [table, { changed, isTruncated }] of changes) {
      if (isTruncated) for (const key of [...(this.byTable.get(table)?.keys() ?? [])]) this.delete(table, key);
      for (const [key, state] of changed) {
        if (state && isSmall) this.set(table, key, { ...state, image: state.image.slice() });
        else this.delete(table, key);
      }
    }
  }

  clear(): void {
    this.byTable.clear();
    this.used.clear();
    this.bytes = 0;
  }

  private touch(table: string, key: string): void {
    const place = `${table} ${key}`;
    const entry = this.used.get(place) ?? { table, key };
    this.used.delete(place);
    this.used.set(place, entry);
  }
}

function bytesOf(key: string, { image, origin }: HeldState): number {
  return ENTRY_BYTES + 2 * key.length + image.length + (origin?.length ?? 0);
}

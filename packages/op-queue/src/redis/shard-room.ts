/** What is known of the room in one shard: what Redis answered last, and the bound. */
export class ShardRoom {
  readonly bytesMax: number;
  /** Bytes queued, as Redis said last; undefined until it said something. Only one process adds, so it is never too low by much. */
  used: number | undefined;
  private entries = 0;
  /** Called when room was given back. */
  onFreed = (): void => {};

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Whether a frame fits behind `ahead` bytes that are not sent yet. A frame larger than the bound goes into an empty shard. */
  fits(bytes: number, ahead: number): boolean {
    if (this.used === undefined || this.entries >= ENTRIES_MAX) return false;
    const before = this.used + ahead;
    return before === 0 || before + bytes <= this.bytesMax;
  }

  /** Redis answered. */
  note(used: number, entries: number): void {
    const isFreed = this.used !== undefined && (used < this.used || entries < this.entries);
    this.used = used;
    this.entries = entries;
    if (isFreed) this.onFreed();
  }

  /** Redis may have lost or gained anything. */
  forget(): void {
    this.used = undefined;
    this.entries = 0;
  }
}

/** Entries in one shard, whatever their size: frames without rows take room too. */
export const ENTRIES_MAX = 50_000;

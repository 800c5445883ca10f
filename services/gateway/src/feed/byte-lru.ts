interface Entry<V> {
  readonly value: Promise<V>;
  bytes: number;
}

/**
 * A cache bounded in bytes that loads each key once, however many ask at the same time. The least recently used entry
 * goes first; one that is still loading counts as nothing and stays. A load that fails is forgotten.
 */
export class ByteLru<V> {
  readonly bytesMax: number;
  bytes = 0;
  hits = 0;
  misses = 0;
  // A Map keeps insertion order: the first key is the least recently used.
  private readonly entryByKey = new Map<string, Entry<V>>();
  private readonly bytesOf: (value: V) => number;

  constructor(bytesMax: number, bytesOf: (value: V) => number) {
    this.bytesMax = bytesMax;
    this.bytesOf = bytesOf;
  }

  get(key: string, load: () => Promise<V>): Promise<V> {
    const known = this.entryByKey.get(key);
    if (known) {
      this.hits++;
      this.entryByKey.delete(key);
      this.entryByKey.set(key, known);
      return known.value;
    }
    this.misses++;
    const entry: Entry<V> = { value: load(), bytes: 0 };
    this.entryByKey.set(key, entry);
    entry.value.then(
      (value) => this.settle(key, entry, this.bytesOf(value)),
      () => this.forget(key, entry),
    );
    return entry.value;
  }

  /** What was asked for before and is still there, or on its way. */
  peek(key: string): Promise<V> | undefined {
    return this.entryByKey.get(key)?.value;
  }

  /** The next to ask has it loaded again. */
  drop(key: string): void {
    const entry = this.entryByKey.get(key);
    if (entry) this.forget(key, entry);
  }

  get size(): number {
    return this.entryByKey.size;
  }

  private settle(key: string, entry: Entry<V>, bytes: number): void {
    if (this.entryByKey.get(key) !== entry) return;
    // 200: what an entry costs besides its value.
    entry.bytes = bytes + 200;
    this.bytes += entry.bytes;
    for (const [oldKey, old] of this.entryByKey) {
      if (this.bytes <= this.bytesMax) return;
      if (old.bytes > 0) this.forget(oldKey, old);
    }
  }

  private forget(key: string, entry: Entry<V>): void {
    if (this.entryByKey.get(key) !== entry) return;
    this.entryByKey.delete(key);
    this.bytes -= entry.bytes;
  }
}

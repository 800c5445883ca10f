import type { BucketStore, FoundRowState, RowStatePage } from '@sluice/bucket-store';
import { comparePositions, type Epoch, type Position, type ProjectId } from '@sluice/domain';
import type { HeldState, KnownRows, StateChanges } from './frame-states.ts';
import type { RowLookup, RowLookups } from './row-lookups.ts';
import { StateCache } from './state-cache.ts';

/** States that a worker keeps in memory per shard. Bytes. */
const CACHE_BYTES_MAX = 16 << 20;
/** States that one frame is evaluated with; a frame that takes more is applied in pieces (L16). Bytes. */
const FRAME_BYTES_MAX = 32 << 20;

export interface ReadFrom {
  readonly epoch: Epoch;
  /** What a frame that is not committed yet does to the states. */
  readonly pending: StateChanges | undefined;
  /** The store may be at any of these: before that frame, and last, where the one to evaluate begins, after it. */
  readonly appliedAt: readonly Position[];
}

/**
 * Reads the states that frames are evaluated with, of one shard, in one round trip a frame, and remembers them. What it
 * remembers is true at the applied position and the revision that the store had; a commit that finds others is refused by
 * the store, and its owner then calls `forget`. So two workers of a shard cost each other time alone (L3).
 */
export class RowStateReader {
  private readonly options: { readonly store: BucketStore; readonly project: ProjectId; readonly shard: number };
  private readonly cache = new StateCache(CACHE_BYTES_MAX);
  private known: bigint | undefined;

  constructor(options: RowStateReader['options']) {
    this.options = options;
  }

  /** The revision at which everything remembered is true; undefined when nothing is. */
  get revision(): bigint | undefined {
    return this.known;
  }

  /** Undefined when the store has moved elsewhere; then nothing is remembered any more. */
  async read({ kind, lookups }: RowLookups, from: ReadFrom): Promise<KnownRows | undefined> {
    return kind === 'stream' ? this.readForFrame(lookups, from) : this.readForCopy(lookups, from);
  }

  /** The frame or part that did this is durable; a part moved the revision by one. */
  committed(kind: RowLookups['kind'], changes: StateChanges): void {
    // Nobody knows at which revision it would be true.
    if (this.known === undefined) return;
    this.cache.apply(changes);
    if (kind === 'snapshot') this.known++;
  }

  forget(): void {
    this.cache.clear();
    this.known = undefined;
  }

  private async readForFrame(lookups: readonly RowLookup[], from: ReadFrom): Promise<KnownRows | undefined> {
    const found = new Found();
    const missing = lookups.filter(({ table, key }) => {
      const pending = from.pending?.get(table.id);
      if (pending?.changed.has(key)) found.add(table.id, key, pending.changed.get(key));
      else if (!pending?.isTruncated) {
        const state = this.cache.get(table.id, key);
        if (!state) return true;
        found.add(table.id, key, state);
      }
      return false;
    });
    let rest: readonly RowLookup[] = missing;
    for (
      let isFirst = true;
      isFirst ? rest.length > 0 || this.known === undefined : this.isStuck(rest, from);
      isFirst = false
    ) {
      const page = await this.page(rest, from, { withOrigins: false });
      if (!page) return undefined;
      for (const state of page.states) {
        const lookup = rest[state.ref];
        if (lookup) found.add(lookup.table.id, lookup.key, heldState(state));
      }
      rest = rest.slice(page.answered);
    }
    const end = rest[0]?.before;
    const revision = this.known;
    return revision === undefined ? undefined : { byTable: found.byTable, byOrigin: new Map(), revision, end };
  }

  /** Whether so few states were read that not one change can be evaluated. */
  private isStuck([next]: readonly RowLookup[], { appliedAt }: ReadFrom): boolean {
    const before = appliedAt.at(-1);
    return next !== undefined && before !== undefined && comparePositions(next.before, before) <= 0;
  }

  /** All of them, and from the store alone: what is not committed yet is not beside a copy. */
  private async readForCopy(lookups: readonly RowLookup[], from: ReadFrom): Promise<KnownRows | undefined> {
    const found = new Found();
    for (let rest = lookups, isFirst = true; isFirst || rest.length > 0; isFirst = false) {
      const page = await this.page(rest, from, { withOrigins: true });
      if (!page) return undefined;
      for (const state of page.states) {
        const lookup = rest[state.ref];
        if (!lookup) continue;
        const { table, key } = lookup;
        if (!state.isOrigin) found.add(table.id, key, heldState(state));
        else found.addOrigin(table.id, key, { key: table.keyOfImage(state.image), state: heldState(state) });
      }
      rest = rest.slice(page.answered);
    }
    const revision = this.known;
    return revision === undefined
      ? undefined
      : { byTable: found.byTable, byOrigin: found.byOrigin, revision, end: undefined };
  }

  private async page(
    lookups: readonly RowLookup[],
    from: ReadFrom,
    { withOrigins }: { readonly withOrigins: boolean },
  ): Promise<RowStatePage | undefined> {
    const { store, project, shard } = this.options;
    const refs = lookups.map(({ table, key }) => ({ stream: table.state.stream, membership: table.set, key }));
    const request = { epoch: from.epoch, shard, refs, withOrigins, bytesMax: FRAME_BYTES_MAX };
    const page = await store.readRowStates(project, request);
    const isExpected = from.appliedAt.some((position) => comparePositions(position, page.applied) === 0);
    this.known ??= page.revision;
    if (isExpected && page.revision === this.known) return page;
    this.forget();
    return undefined;
  }
}

class Found {
  readonly byTable = new Map<string, Map<string, HeldState>>();
  readonly byOrigin = new Map<string, Map<string, { readonly key: string; readonly state: HeldState }>>();

  add(table: string, key: string, state: HeldState | undefined): void {
    if (!state) return;
    const states = this.byTable.get(table) ?? new Map<string, HeldState>();
    this.byTable.set(table, states.set(key, state));
  }
  addOrigin(table: string, origin: string, state: { readonly key: string; readonly state: HeldState }): void {
    const states = this.byOrigin.get(table) ?? new Map();
    this.byOrigin.set(table, states.set(origin, state));
  }
}

function heldState({ kind, position: { lsn, seq }, sinceLsn, origin, image }: FoundRowState): HeldState {
  return { kind, lsn, seq, since: sinceLsn, origin, image };
}

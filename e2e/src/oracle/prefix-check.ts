import type { StreamSpec } from '../stack/rules.ts';
import type { Claims, SourceDatabase } from '../stack/source-database.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import { textsSent } from '../wire/texts-sent.ts';
import type { SqlOracle } from './sql-oracle.ts';
import { type DatabaseState, differences } from './table-state.ts';

/** Whose clients are checked. */
export interface Watched {
  readonly source: SourceDatabase;
  readonly oracle: SqlOracle;
  /** The streams that clients may see now. */
  readonly visibleStreams: readonly StreamSpec[];
}

interface Expected {
  readonly state: DatabaseState;
  readonly unsettled: Set<string>;
}
interface Sample {
  readonly claims: Claims;
  readonly tick: number;
  readonly state: DatabaseState;
}

/**
 * L12: whatever a client shows is what SQL gave its user after one commit, all tables at once. Commits go through
 * `commit`, which asks the oracle after each; watched clients are read at every checkpoint that they apply.
 */
export class PrefixCheck {
  readonly #tenant: Watched;
  readonly #users: readonly Claims[];
  /**
   * What clients need not show yet: columns (`table.column`) that a statement changed, since Postgres sends no word of it
   * before the table's next row and the table is then copied again first; tables that a deployment adds or drops.
   */
  readonly unsettled = new Set<string>();
  /** Per user, what SQL gave after each commit, by tick. */
  readonly #expected = new Map<string, Map<number, Expected>>();
  /** Per user, every text that SQL ever gave it. */
  readonly #texts = new Map<string, Set<string>>();
  /** Read from clients and not judged yet. */
  #samples: Sample[] = [];
  #judged = 0;

  private constructor(tenant: Watched, users: readonly Claims[]) {
    this.#tenant = tenant;
    this.#users = users;
  }

  /** The present state of the source is the first that a client may show. */
  static async begin(tenant: Watched, users: readonly Claims[]): Promise<PrefixCheck> {
    const check = new PrefixCheck(tenant, users);
    await check.look();
    return check;
  }

  /** Reads the client at each checkpoint from now on; the returned function ends that. */
  watch(client: SyncClient): () => void {
    return client.sample(
      () => this.#tenant.visibleStreams,
      (state) => {
        const tick = Number(state.get('ticks')?.rows[0]?.n ?? -1);
        this.#samples.push({ claims: client.claims, tick, state });
      },
    );
  }

  async commit(...statements: readonly string[]): Promise<number> {
    const tick = await this.#tenant.source.commit(...statements);
    await this.#ask(tick);
    return tick;
  }

  /**
   * A deployment that adds or drops the table is about to begin. A table that is dropped is gone from the next checkpoint on,
   * which may be of a commit before this.
   */
  tableUnsettled(table: string): void {
    this.unsettled.add(table);
    for (const states of this.#expected.values()) for (const { unsettled } of states.values()) unsettled.add(table);
  }

  /** Asks the oracle without a commit, where the rules have changed since the last one. */
  look(): Promise<void> {
    return this.#ask(this.#tenant.source.tick);
  }

  async #ask(tick: number): Promise<void> {
    const found = await this.#tenant.oracle.statesOf(this.#users, this.#tenant.visibleStreams);
    this.#users.forEach(({ sub }, i) => {
      const states = this.#expected.get(sub) ?? new Map<number, Expected>();
      const state = found[i];
      if (!state) return;
      states.set(tick, { state, unsettled: new Set(this.unsettled) });
      this.#expected.set(sub, states);
      const texts = this.#texts.get(sub) ?? new Set<string>();
      for (const { rows } of state.values())
        for (const row of rows) for (const cell of Object.values(row)) if (typeof cell === 'string') texts.add(cell);
      this.#texts.set(sub, texts);
    });
  }

  /** How many states were read from clients and judged. */
  get judged(): number {
    return this.#judged;
  }

  /** What clients showed since the last call that SQL never gave; call it when no commit is under way. */
  problems(): string[] {
    const samples = this.#samples;
    this.#samples = [];
    this.#judged += samples.length;
    return samples.flatMap(({ claims, tick, state }) => {
      const expected = this.#at(claims, tick);
      if (!expected) return [`${claims.sub} showed tick ${tick}, before which nothing is known`];
      return differences(withoutTicks(expected.state), withoutTicks(state), expected.unsettled).map(
        (line) => `${claims.sub} at tick ${tick}: ${line}`,
      );
    });
  }

  /** L13: texts that were sent to the client, which must be tapped, and that SQL never gave its user. */
  leaks({ claims, tap }: SyncClient): string[] {
    const given = this.#texts.get(claims.sub);
    return [...textsSent(tap.messages())]
      .filter((text) => !given?.has(text))
      .map((text) => `${claims.sub} was sent ${JSON.stringify(text.slice(0, 80))}`);
  }

  /** A tick that nobody asked about was counted up alone, so the one before it says the same of all other tables. */
  #at({ sub }: Claims, tick: number): Expected | undefined {
    const states = this.#expected.get(sub);
    for (let at = tick; at >= 0; at--) {
      const state = states?.get(at);
      if (state) return state;
    }
    return undefined;
  }
}

function withoutTicks(state: DatabaseState): DatabaseState {
  return new Map([...state].filter(([table]) => table !== 'ticks'));
}

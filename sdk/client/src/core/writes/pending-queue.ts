import { decodeMutations, type Mutation } from '@sluice/protocol';
import type { Database } from '../sqlite/database.ts';
import type { Schema } from '../store/schema.ts';

/** Tables of the client that tell what became of its uploads; the rules' `writes` adds their streams. */
const CLIENT_TABLE = 'sluice_client';
const REFUSAL_TABLE = 'sluice_refusal';

export interface PendingWrite {
  /** 1 for the first write of this client, then without gaps. */
  readonly seq: number;
  /** What `encodeMutations` gave. */
  readonly payload: Uint8Array;
}
export interface RejectedWrite {
  /** Its number in this database. */
  readonly id: number;
  readonly payload: Uint8Array;
  readonly code: string;
  readonly reason: string;
  readonly rejectedAtMs: number;
}

/** What a checkpoint said of the writes of this client. */
export interface Settlement {
  /** Writes that are settled by it, refused ones among them. */
  readonly settled: number;
  readonly refused: number;
  /** Writes that had been settled and that the source does not have any more: it was set back. */
  readonly lost: number;
  /** Writes are recorded under this client id that were not made here: the database is a copy of another one's. */
  readonly isForeign: boolean;
}

export const PENDING_TABLES = `
CREATE TABLE IF NOT EXISTS _sluice_writes (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  last INTEGER NOT NULL,
  settled INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO _sluice_writes (id, last, settled) VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS _sluice_pending (
  seq INTEGER PRIMARY KEY,
  payload BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS _sluice_rejected (
  id INTEGER PRIMARY KEY,
  payload BLOB NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  rejected_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS _sluice_base (
  tbl TEXT NOT NULL,
  key BLOB NOT NULL,
  cells BLOB,
  holders ANY,
  hash INTEGER,
  PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID;
`;

/** The writes that the server has not settled, and those that it refused. Works within the caller's transaction. */
export class PendingQueue {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The number of the last write that was made, and of the last that is settled. */
  get marks(): { readonly last: number; readonly settled: number } {
    let marks = { last: 0, settled: 0 };
    this.#db.forEachRow('SELECT last, settled FROM _sluice_writes', [], (row) => {
      marks = { last: row.double(0), settled: row.double(1) };
    });
    return marks;
  }
  get count(): number {
    const { last, settled } = this.marks;
    return last - settled;
  }

  add(payload: Uint8Array): number {
    const seq = this.marks.last + 1;
    this.#db.run('INSERT INTO _sluice_pending (seq, payload) VALUES (?, ?)', [seq, payload]);
    this.#db.run('UPDATE _sluice_writes SET last = ?', [seq]);
    return seq;
  }

  /** The first `limit` writes after `seq`, in order. */
  after(seq: number, limit: number): PendingWrite[] {
    const found: PendingWrite[] = [];
    this.#db.forEachRow(
      'SELECT seq, payload FROM _sluice_pending WHERE seq > ? ORDER BY seq LIMIT ?',
      [seq, limit],
      (row) => found.push({ seq: row.double(0), payload: row.blob(1) }),
    );
    return found;
  }
  /** Visits every mutation that is not settled, in order. */
  forEachMutation(visit: (mutation: Mutation) => void): void {
    for (const { payload } of this.after(0, -1)) for (const mutation of decodeMutations(payload)) visit(mutation);
  }

  get rejectedCount(): number {
    let count = 0;
    this.#db.forEachRow('SELECT count(*) FROM _sluice_rejected', [], (row) => {
      count = row.double(0);
    });
    return count;
  }
  rejected(): RejectedWrite[] {
    const found: RejectedWrite[] = [];
    this.#db.forEachRow(
      'SELECT id, payload, code, reason, rejected_at_ms FROM _sluice_rejected ORDER BY id',
      [],
      (row) =>
        found.push({
          id: row.double(0),
          payload: row.blob(1),
          code: row.text(2),
          reason: row.text(3),
          rejectedAtMs: row.double(4),
        }),
    );
    return found;
  }
  dismiss(id: number): boolean {
    this.#db.run('DELETE FROM _sluice_rejected WHERE id = ?', [id]);
    return this.#db.changes > 0;
  }

  /**
   * Takes over what the rows of the checkpoint just applied say (L15). In a new lineage of the source its record decides: what is
   * pending is numbered on from it.
   */
  settle(schema: Schema, { clientId, nowMs, isNewEpoch }: SettleContext): Settlement {
    const none = { settled: 0, refused: 0, lost: 0, isForeign: false };
    if (!schema.tables.has(CLIENT_TABLE)) return none;
    const recorded = this.#recorded(clientId);
    const { last, settled } = this.marks;
    if (recorded > last) return { ...none, isForeign: true };
    if (recorded < settled) {
      if (!isNewEpoch) return none;
      this.#renumber(recorded);
      return { ...none, lost: settled - recorded };
    }
    if (recorded === settled) return none;
    const refused = schema.tables.has(REFUSAL_TABLE) ? this.#takeRefusals(clientId, recorded, nowMs) : 0;
    this.#db.run('DELETE FROM _sluice_pending WHERE seq <= ?', [recorded]);
    this.#db.run('UPDATE _sluice_writes SET settled = ?', [recorded]);
    return { ...none, settled: recorded - settled, refused };
  }

  /** Numbers what is pending from 1 again, for another client id. */
  startOver(): void {
    this.#renumber(0);
  }

  #recorded(clientId: string): number {
    let recorded = 0;
    const sql = `SELECT max(seq) FROM ${CLIENT_TABLE} WHERE client_id = ?`;
    this.#db.forEachRow(sql, [clientId], (row) => {
      recorded = row.double(0);
    });
    return recorded;
  }

  #takeRefusals(clientId: string, through: number, nowMs: number): number {
    this.#db.run(
      `INSERT INTO _sluice_rejected (payload, code, reason, rejected_at_ms)
       SELECT p.payload, r.code, r.reason, ? FROM ${REFUSAL_TABLE} r JOIN _sluice_pending p ON p.seq = r.seq
       WHERE r.client_id = ? AND r.seq <= ? ORDER BY r.seq`,
      [Math.round(nowMs), clientId, through],
    );
    return this.#db.changes;
  }

  /** The first pending write becomes `from` + 1. Numbers go down, so in their order none meets another. */
  #renumber(from: number): void {
    const pending = this.after(0, -1);
    let next = from;
    for (const { seq } of pending) {
      next++;
      if (seq !== next) this.#db.run('UPDATE _sluice_pending SET seq = ? WHERE seq = ?', [next, seq]);
    }
    this.#db.run('UPDATE _sluice_writes SET last = ?, settled = ?', [next, from]);
  }
}

export interface SettleContext {
  readonly clientId: string;
  readonly nowMs: number;
  readonly isNewEpoch: boolean;
}

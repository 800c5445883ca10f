import type { ResultFrame } from '../query/frame.ts';
import type { Database } from '../sqlite/database.ts';
import { decodeFrames, encodeFrames } from './stored-frames.ts';

/** A write as one of several tabs asked for it; it may be asked for again, when the tab that it was sent to has died. */
export interface AskedWrite {
  readonly tab: string;
  /** Rises with each call of the tab. */
  readonly call: number;
  /** No call below it will be asked for again: the tab has their answers. */
  readonly oldestOpen: number;
}

export const ANSWERED_TABLES = `
CREATE TABLE IF NOT EXISTS _sluice_answered (
  tab TEXT NOT NULL,
  call INTEGER NOT NULL,
  results BLOB NOT NULL,
  PRIMARY KEY (tab, call)
) STRICT, WITHOUT ROWID;
`;

/**
 * What writes of other tabs were answered with, kept in the transaction of the write, so that one that is asked for again is answered
 * and not done twice. A tab's answers are kept until it has them or has died, so there are at most as many as it may have open at
 * once. Works within the caller's transaction.
 */
export class AnsweredWrites {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Undefined when the write was not done. */
  find({ tab, call }: AskedWrite): readonly ResultFrame[] | undefined {
    let found: readonly ResultFrame[] | undefined;
    this.#db.forEachRow('SELECT results FROM _sluice_answered WHERE tab = ? AND call = ?', [tab, call], (row) => {
      found = decodeFrames(row.blob(0));
    });
    return found;
  }
  add({ tab, call, oldestOpen }: AskedWrite, results: readonly ResultFrame[]): void {
    this.#db.run('DELETE FROM _sluice_answered WHERE tab = ? AND call < ?', [tab, oldestOpen]);
    this.#db.run('INSERT INTO _sluice_answered (tab, call, results) VALUES (?, ?, ?)', [
      tab,
      call,
      encodeFrames(results),
    ]);
  }

  /** Tabs whose answers are kept. */
  tabs(): string[] {
    const tabs: string[] = [];
    this.#db.forEachRow('SELECT DISTINCT tab FROM _sluice_answered', [], (row) => tabs.push(row.text(0)));
    return tabs;
  }
  /** The tab asks for nothing again. */
  forget(tab: string): void {
    this.#db.run('DELETE FROM _sluice_answered WHERE tab = ?', [tab]);
  }
}

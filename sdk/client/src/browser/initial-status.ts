import type { Status } from '../types.ts';

/** Before anything is known of the database. */
export const INITIAL_STATUS: Status = {
  connection: 'offline',
  source: undefined,
  checkpoint: undefined,
  progress: undefined,
  lastError: undefined,
  storage: undefined,
  lastAppliedAtMs: undefined,
  writes: { state: 'unknown', code: '', pending: 0, rejected: 0, lost: 0 },
};

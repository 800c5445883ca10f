import type { SourceCondition } from './port.ts';

/** What a source's condition is until its replicator has said anything. */
export const INITIAL_CONDITION: SourceCondition = {
  state: 'loading',
  code: '',
  details: {},
  rowsDone: 0,
  rowsEstimate: 0,
};

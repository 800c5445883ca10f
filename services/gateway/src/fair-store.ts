import type { ProjectId } from '@sluice/domain';
import type { FairTurns } from './fair-turns.ts';
import type { StoreReads } from './model.ts';

/** The store's reads, a few at a time and in turns among projects: a busy project's wait in its own line. */
export interface FairStore extends StoreReads {
  /** Runs a read whose form is only known when it is its turn; it must not ask for another turn. */
  inTurn<T>(project: ProjectId, read: (store: StoreReads) => Promise<T>): Promise<T>;
}

export function fairStore(store: StoreReads, turns: FairTurns): FairStore {
  const member = {};
  const inTurn: FairStore['inTurn'] = (project, read) =>
    turns.run({ group: String(project), member }, () => read(store));
  return {
    inTurn,
    readSource: (project) => inTurn(project, () => store.readSource(project)),
    readStreams: (project) => inTurn(project, () => store.readStreams(project)),
    readChunks: (project, request) => inTurn(project, () => store.readChunks(project, request)),
    readSums: (project, ...rest) => inTurn(project, () => store.readSums(project, ...rest)),
    readMembership: (project, ...rest) => inTurn(project, () => store.readMembership(project, ...rest)),
    readMembershipTouched: (project, ...rest) => inTurn(project, () => store.readMembershipTouched(project, ...rest)),
    pinCheckpoint: (project, ...rest) => store.pinCheckpoint(project, ...rest),
    unpinCheckpoint: (project, holder) => store.unpinCheckpoint(project, holder),
    readTruncated: (project, ...rest) => inTurn(project, () => store.readTruncated(project, ...rest)),
  };
}

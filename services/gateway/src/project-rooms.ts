import type { Clock, ProjectId } from '@sluice/domain';
import type { WakeUps } from '@sluice/op-queue';
import type { FairStore } from './fair-store.ts';
import { type FeedCaches, ProjectFeed } from './feed/project-feed.ts';
import { ReadPins } from './feed/read-pins.ts';
import type { SourceMessage } from './model.ts';
import { ProjectWatch } from './notify/project-watch.ts';
import { type MembershipReader, membershipReaderOf } from './resolve/read-membership.ts';

export interface ProjectRoomsOptions {
  readonly project: ProjectId;
  readonly store: FairStore;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly caches: FeedCaches;
  readonly pollMs: number;
  readonly onSource: (source: SourceMessage) => void;
  readonly onProjectChanged: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** What the sessions of one project share. */
export interface ProjectRooms {
  readonly watch: ProjectWatch;
  readonly feed: ProjectFeed;
  readonly membership: MembershipReader;
  readonly pins: ReadPins;
}

const LOADING_POLL_MS = 500;
const GRACE_MS = 250;

/** Joins feed, resolve and notify for one project: the feed hears of every change before any session does. */
export function projectRoomsOf(options: ProjectRoomsOptions): ProjectRooms {
  const { project, store, wakeUps, clock, caches, pollMs, onSource, onProjectChanged, onFailure } = options;
  const feed = new ProjectFeed(store, project, caches);
  const watch = new ProjectWatch({
    project,
    store,
    wakeUps,
    clock,
    pollMs,
    loadingPollMs: Math.min(pollMs, LOADING_POLL_MS),
    graceMs: GRACE_MS,
    onStep: (step) => feed.recordStep(step),
    onGap: (lsn) => feed.recordGap(lsn),
    onSource,
    onProjectChanged,
    onFailure,
  });
  const pins = new ReadPins({ store, project, clock, onFailure });
  return { watch, feed, membership: membershipReaderOf(store, project), pins };
}

export function closeRooms({ watch, pins }: ProjectRooms): void {
  watch.close();
  pins.close();
}

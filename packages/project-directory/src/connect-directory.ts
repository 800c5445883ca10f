import {
  type Database,
  type KeyEncryption,
  openDatabase,
  openFileKeys,
  type ProjectChange,
  watchProjectChanges,
} from '@sluice/database';
import type { Clock, ProjectId } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import { createProjectDirectory, type ProjectDirectory } from './project-directory.ts';
import { projectsToHold } from './projects-to-hold.ts';

/** Which projects there are, for a process that needs no more of them and holds no keys. */
export interface ListingConnection {
  readonly projectsToHold: () => Promise<ProjectId[]>;
  readonly onProjectChanged: ProjectDirectory['onProjectChanged'];
  /** Undefined when the control database answers, else why not. */
  notReady(): Promise<string | undefined>;
  close(): Promise<void>;
}
/** The whole directory, for a process beside the control plane. */
export interface DirectoryConnection extends ListingConnection {
  readonly directory: ProjectDirectory;
}

interface ListingOptions {
  readonly databaseUrl: string;
  readonly connectionsMax: number;
  readonly clock: Clock;
  /** Changes are not told of for a moment; reads go on. */
  readonly onWatchLost: (error: unknown) => void;
}

export function connectListing(options: ListingOptions): ListingConnection {
  return connect(options, noKeys);
}

/** @param options.keyFile secrets of projects are opened with it. @throws AppError SECRET_KEY_FILE_INVALID */
export async function connectDirectory(
  options: ListingOptions & { readonly keyFile: string },
): Promise<DirectoryConnection> {
  return connect(options, await openFileKeys(options.keyFile));
}

function connect(options: ListingOptions, keys: KeyEncryption): DirectoryConnection {
  const { databaseUrl: url, clock, connectionsMax } = options;
  const database = openDatabase({ url, clock, connectionsMax });
  const listeners = new Set<(change: ProjectChange) => void>();
  const stopping = new AbortController();
  const watching = watchProjectChanges({
    url,
    clock,
    signal: stopping.signal,
    onChange: (change) => {
      for (const listener of listeners) listener(change);
    },
    onLost: options.onWatchLost,
  });
  const directory = createProjectDirectory({ database, keys, listeners });
  return {
    directory,
    projectsToHold: () => projectsToHold(directory),
    onProjectChanged: (listener) => directory.onProjectChanged(listener),
    notReady: () => notReady(database),
    async close() {
      stopping.abort();
      await watching;
      await database.close();
    },
  };
}

async function notReady(database: Database): Promise<string | undefined> {
  try {
    await database.ping();
    return undefined;
  } catch (error) {
    return isAppError(error, 'API_UNAVAILABLE') ? 'the control database does not answer' : 'the control database fails';
  }
}

const noKeys: KeyEncryption = {
  async wrap() {
    throw new AppError('SECRET_UNREADABLE', { internal: 'this process holds no keys' });
  },
  async unwrap() {
    throw new AppError('SECRET_UNREADABLE', { internal: 'this process holds no keys' });
  },
};

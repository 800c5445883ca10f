'use client';
import type { Status } from '@sluice/client';
import { useCallback } from 'react';
import withSelector from 'use-sync-external-store/with-selector';
import { useSluice } from './use-sluice.ts';

/** Of a provider without a client, and of every client while a server renders. */
const NO_STATUS: Status = {
  connection: 'offline',
  source: undefined,
  checkpoint: undefined,
  progress: undefined,
  lastError: undefined,
  storage: undefined,
  lastAppliedAtMs: undefined,
  writes: { state: 'unknown', code: '', pending: 0, rejected: 0, lost: 0 },
};
const getNoStatus = (): Status => NO_STATUS;

/** Connection, checkpoint, progress, pending writes and the last error. @throws SluiceError CLIENT_PROVIDER_MISSING */
export function useStatus(): Status;
/**
 * The part of it that `select` gives: the component renders again only when that is another by `isEqual`, which is `Object.is`
 * unless given.
 */
export function useStatus<T>(select: (status: Status) => T, isEqual?: (a: T, b: T) => boolean): T;
export function useStatus(
  select: (status: Status) => unknown = (status) => status,
  isEqual: (a: unknown, b: unknown) => boolean = Object.is,
): unknown {
  const client = useSluice();
  const subscribe = useCallback((listener: () => void) => client?.onStatus(listener) ?? (() => undefined), [client]);
  const getStatus = useCallback(() => client?.status() ?? NO_STATUS, [client]);
  return withSelector.useSyncExternalStoreWithSelector(subscribe, getStatus, getNoStatus, select, isEqual);
}

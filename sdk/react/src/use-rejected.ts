'use client';
import type { RejectedWriteInfo } from '@sluice/client';
import { useSyncExternalStore } from 'react';
import { bindingError } from './errors.ts';
import { NONE_REJECTED, rejectedWritesOf } from './rejected-writes.ts';
import { useSluice } from './use-sluice.ts';

export interface Rejected {
  /** Transactions that the source refused, oldest first, until they are dismissed. */
  readonly rejected: readonly RejectedWriteInfo[];
  /** Forgets one of them. */
  readonly dismiss: (id: number) => Promise<void>;
}

const getNone = (): readonly RejectedWriteInfo[] => NONE_REJECTED;
const subscribeToNothing = (): (() => void) => () => undefined;
const dismissNothing = (): Promise<void> => Promise.reject(bindingError('CLIENT_MISSING'));

/** What was refused, live. @throws SluiceError CLIENT_PROVIDER_MISSING */
export function useRejected(): Rejected {
  const client = useSluice();
  const writes = client && rejectedWritesOf(client);
  const rejected = useSyncExternalStore(
    writes?.subscribe ?? subscribeToNothing,
    writes?.getRejected ?? getNone,
    getNone,
  );
  return { rejected, dismiss: writes?.dismiss ?? dismissNothing };
}

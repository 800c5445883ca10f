'use client';
import type { SluiceClient } from '@sluice/client';
import { useCallback } from 'react';
import { bindingError } from './errors.ts';
import { useSluice } from './use-sluice.ts';

/** Runs one local transaction, as `write` of the client; rejects with CLIENT_MISSING while there is none. */
export type Write = SluiceClient['write'];

/** The same function as long as the client is the same. @throws SluiceError CLIENT_PROVIDER_MISSING */
export function useWrite(): Write {
  const client = useSluice();
  return useCallback<Write>(
    (operations) => client?.write(operations) ?? Promise.reject(bindingError('CLIENT_MISSING')),
    [client],
  );
}

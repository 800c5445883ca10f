'use client';
import type { SluiceClient } from '@sluice/client';
import { use } from 'react';
import { ClientContext } from './client-context.ts';
import { bindingError } from './errors.ts';

/**
 * The client of the nearest provider; undefined where it has none, as on a server.
 * @throws SluiceError CLIENT_PROVIDER_MISSING
 */
export function useSluice(): SluiceClient | undefined {
  const found = use(ClientContext);
  if (!found) throw bindingError('CLIENT_PROVIDER_MISSING');
  return found.client;
}

'use client';
import type { SluiceClient } from '@sluice/client';
import { type ReactNode, useMemo } from 'react';
import { ClientContext } from './client-context.ts';

export interface SluiceProviderProps {
  /**
   * Made by the app, which also closes it: one for each signed-in user. Undefined on a server and while nobody is signed in; then
   * queries are loading.
   */
  readonly client: SluiceClient | undefined;
  readonly children?: ReactNode;
}

/** Gives the client to the hooks of everything within. */
export function SluiceProvider({ client, children }: SluiceProviderProps): ReactNode {
  const value = useMemo(() => ({ client }), [client]);
  return <ClientContext value={value}>{children}</ClientContext>;
}

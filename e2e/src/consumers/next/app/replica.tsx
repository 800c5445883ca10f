'use client';
import { createClient } from '@sluice/client';
import { SluiceProvider } from '@sluice/react';
import type { ReactNode } from 'react';

const settings = new URLSearchParams(typeof window === 'undefined' ? '' : window.location.search);
export const owner = settings.get('owner') ?? '';
export const client =
  typeof window === 'undefined'
    ? undefined
    : createClient({
        url: settings.get('url') ?? '',
        project: settings.get('project') ?? '',
        auth: () => settings.get('token') ?? '',
      });
client?.connect();

export function Replica({ children }: { children: ReactNode }) {
  return <SluiceProvider client={client}>{children}</SluiceProvider>;
}

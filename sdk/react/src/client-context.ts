'use client';
import type { SluiceClient } from '@sluice/client';
import { createContext } from 'react';

/** Undefined outside of a provider. */
export const ClientContext = createContext<{ readonly client: SluiceClient | undefined } | undefined>(undefined);

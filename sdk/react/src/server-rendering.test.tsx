import { createClient, type SluiceClient } from '@sluice/node';
import { type ReactNode, Suspense } from 'react';
import { prerender } from 'react-dom/static';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SluiceProvider, useQuery, useRejected, useStatus, useSuspenseQuery } from './index.ts';

let client: SluiceClient;
beforeEach(async () => {
  client = await createClient({ url: 'ws://127.0.0.1:1', project: 'demo', auth: () => 'jwt' });
});
afterEach(() => client.close());

async function html(node: ReactNode): Promise<{ text: string; errors: unknown[] }> {
  const errors: unknown[] = [];
  const { prelude } = await prerender(node, { onError: (error) => void errors.push(error) });
  return { text: await new Response(prelude).text(), errors };
}

function Page(): ReactNode {
  const { rows, isLoading } = useQuery('SELECT 1');
  const { rejected } = useRejected();
  return `${rows.length} rows, ${isLoading ? 'loading' : 'loaded'}, ${useStatus((status) => status.connection)}, ${rejected.length} rejected`;
}

test('a server shows the loading state and starts nothing, with a client or without', async () => {
  const live = vi.spyOn(client, 'live');
  const onStatus = vi.spyOn(client, 'onStatus');
  for (const given of [client, undefined]) {
    const { text, errors } = await html(<SluiceProvider client={given}>{<Page />}</SluiceProvider>);
    expect(text).toBe('0 rows, loading, offline, 0 rejected');
    expect(errors).toEqual([]);
  }
  expect(live).not.toHaveBeenCalled();
  expect(onStatus).not.toHaveBeenCalled();
});

test('a suspending query leaves its fallback to the page and says so with a code', async () => {
  const Suspended = (): ReactNode => useSuspenseQuery('SELECT 1').length;
  const { text, errors } = await html(
    <SluiceProvider client={undefined}>
      <Suspense fallback="waiting">
        <Suspended />
      </Suspense>
    </SluiceProvider>,
  );
  expect(text).toContain('waiting');
  expect(errors).toMatchObject([{ code: 'CLIENT_ON_SERVER' }]);
});

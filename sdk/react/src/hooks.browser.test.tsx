// Named where Vite looks before the tests: a dependency that it meets later reloads the page.
import 'fflate';
import 'react/jsx-dev-runtime';
import type { WriteOperation } from '@sluice/client';
import { recordRow, refusalRow } from '@sluice/client/testing';
import { act, cleanup, configure, render, renderHook, waitFor } from '@testing-library/react';
import { Component, memo, type ReactNode, StrictMode, Suspense, startTransition, useState } from 'react';
import { flushSync } from 'react-dom';
import { hydrateRoot } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  SluiceProvider,
  useQuery,
  useRejected,
  useSluice,
  useStatus,
  useSuspenseQuery,
  useWrite,
  type Write,
} from './index.ts';
import { type Note, openTestClient, setNotes, type TestClient } from './testing/test-client.ts';

const ALL = 'SELECT id, title, count FROM notes ORDER BY id';
const NOTES: readonly Note[] = [
  { id: 1, title: 'one', count: 1 },
  { id: 2, title: 'two', count: 2 },
  { id: 3, title: 'three', count: 3 },
];

// The whole page in a failure says nothing that the text does not.
configure({ getElementError: (message) => new Error(message ?? '') });

let bench: TestClient;
beforeEach(async () => {
  bench = await openTestClient();
  setNotes(bench.source, NOTES);
});
afterEach(async () => {
  cleanup();
  await bench.client.close();
});

function within(children: ReactNode, client: TestClient['client'] | undefined = bench.client): ReactNode {
  return <SluiceProvider client={client}>{children}</SluiceProvider>;
}
const text = (): string => document.body.textContent.trim();
const shows = (expected: string): Promise<void> => waitFor(() => expect(text()).toBe(expected));

function Titles({ sql = ALL, parameters }: { sql?: string; parameters?: readonly number[] }): ReactNode {
  const { rows, isLoading, error } = useQuery<Note>(sql, parameters);
  return <p>{error ? error.code : isLoading ? 'loading' : `[${rows.map(({ title }) => title).join()}]`}</p>;
}

describe('useQuery', () => {
  test('is loading until the first checkpoint, then shows each checkpoint and each write', async () => {
    render(within(<Titles />));
    expect(text()).toBe('loading');
    bench.client.connect();
    await shows('[one,two,three]');
    bench.publish({ id: 2, title: 'zwei', count: 2 });
    await shows('[one,zwei,three]');
    await bench.client.write({ update: 'notes', values: { id: 3, title: 'mine' } });
    await shows('[one,zwei,mine]');
  });

  test('rows that did not change are the objects that they were, and memoised children of them do not render again', async () => {
    const renders: string[] = [];
    const Row = memo(({ row }: { row: Note }): ReactNode => {
      renders.push(row.title ?? '');
      return <i>{row.title}</i>;
    });
    function List(): ReactNode {
      return useQuery<Note>(ALL).rows.map((row) => <Row key={row.id} row={row} />);
    }
    render(within(<List />));
    bench.client.connect();
    await shows('onetwothree');
    renders.length = 0;
    bench.publish({ id: 2, title: 'TWO', count: 2 }, { id: 0, title: 'zero', count: 0 });
    await shows('zerooneTWOthree');
    expect(renders.toSorted()).toEqual(['TWO', 'zero']);
  });

  test('components with the same SQL and parameters share one query; the last that goes ends it, after a while', async () => {
    const live = vi.spyOn(bench.client, 'live');
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const sql = 'SELECT title FROM notes WHERE id > ? ORDER BY id';
      const two = [1, 2].map((key) => <Titles key={key} sql={sql} parameters={[1]} />);
      const page = render(within(two));
      bench.client.connect();
      await vi.waitFor(() => expect(text()).toBe('[two,three][two,three]'));
      expect(live).toHaveBeenCalledTimes(1);
      page.rerender(within(<Titles sql={sql} parameters={[2]} />));
      await vi.waitFor(() => expect(text()).toBe('[three]'));
      expect(live).toHaveBeenCalledTimes(2);
      // Going back within the time finds the rows at once.
      page.rerender(within(<Titles sql={sql} parameters={[1]} />));
      expect(text()).toBe('[two,three]');
      expect(live).toHaveBeenCalledTimes(2);
      page.rerender(within(null));
      vi.advanceTimersByTime(5000);
      page.rerender(within(<Titles sql={sql} parameters={[1]} />));
      expect(text()).toBe('loading');
      expect(live).toHaveBeenCalledTimes(3);
      await vi.waitFor(() => expect(text()).toBe('[two,three]'));
    } finally {
      vi.useRealTimers();
    }
  });

  test('in strict mode there is still one query, and it stays live', async () => {
    const live = vi.spyOn(bench.client, 'live');
    render(<StrictMode>{within(<Titles />)}</StrictMode>);
    bench.client.connect();
    await shows('[one,two,three]');
    bench.publish({ id: 1, title: 'eins', count: 1 });
    await shows('[eins,two,three]');
    expect(live).toHaveBeenCalledTimes(1);
  });

  test('a query that cannot run shows its code and no rows, and heals when it can', async () => {
    bench.client.connect();
    await bench.client.ready();
    const sql = 'SELECT title FROM notes WHERE json(title) IS NOT NULL';
    render(within(<Titles sql={sql} />));
    await shows('CLIENT_QUERY_INVALID');
    bench.publish(...NOTES.map((note) => ({ ...note, title: '1' })));
    await shows('[1,1,1]');
    bench.publish({ id: 1, title: 'not json', count: 1 });
    await shows('CLIENT_QUERY_INVALID');
  });

  test('a closed client, before or after its first checkpoint, is an error and not an endless wait', async () => {
    render(within(<Titles />));
    expect(text()).toBe('loading');
    await bench.client.close();
    await shows('CLIENT_CLOSED');
    cleanup();
    render(within(<Titles sql="SELECT title FROM notes" />));
    await shows('CLIENT_CLOSED');
  });

  test('another client shows its own rows, and none of the first', async () => {
    const other = await openTestClient();
    setNotes(other.source, [{ id: 9, title: 'nine', count: 9 }]);
    for (const { client } of [bench, other]) client.connect();
    await Promise.all([bench.client.ready(), other.client.ready()]);
    const page = render(within(<Titles />));
    await shows('[one,two,three]');
    page.rerender(within(<Titles />, other.client));
    expect(text()).not.toContain('one');
    await shows('[nine]');
    await other.client.close();
  });

  test('outside of a provider every hook says so with a code', () => {
    const uses = [() => useQuery(ALL), () => useStatus(), () => useWrite(), () => useRejected(), () => useSluice()];
    for (const use of uses) {
      const Lost = (): ReactNode => {
        use();
        return null;
      };
      expect(() => render(<Lost />)).toThrow(/CLIENT_PROVIDER_MISSING/);
    }
  });
});

class Boundary extends Component<{ children: ReactNode }, { error?: { code?: string } }> {
  override state: { error?: { code?: string } } = {};
  static getDerivedStateFromError(error: { code?: string }): { error: { code?: string } } {
    return { error };
  }
  override render(): ReactNode {
    return this.state.error ? `caught ${this.state.error.code}` : this.props.children;
  }
}

describe('useSuspenseQuery', () => {
  function Suspended({ above = 0 }: { above?: number }): ReactNode {
    const rows = useSuspenseQuery<Note>('SELECT title FROM notes WHERE id > ? ORDER BY id', [above]);
    return `<${rows.map(({ title }) => title).join()}>`;
  }
  const suspense = (children: ReactNode): ReactNode => (
    <StrictMode>{within(<Boundary>{<Suspense fallback="waiting">{children}</Suspense>}</Boundary>)}</StrictMode>
  );

  /** React holds back what suspends in an `act` that nobody awaits. */
  const renderSuspending = (node: ReactNode): Promise<void> =>
    act(async () => {
      render(node);
    });

  test('suspends until there are rows, with one query, and is live from then on', async () => {
    const live = vi.spyOn(bench.client, 'live');
    await renderSuspending(suspense(<Suspended />));
    expect(text()).toBe('waiting');
    bench.client.connect();
    await shows('<one,two,three>');
    bench.publish({ id: 1, title: 'eins', count: 1 });
    await shows('<eins,two,three>');
    expect(live).toHaveBeenCalledTimes(1);
  });

  test('rows that another component has are there at once, without a fallback', async () => {
    const sql = 'SELECT title FROM notes WHERE id > ? ORDER BY id';
    bench.client.connect();
    const page = render(within(<Titles sql={sql} parameters={[1]} />));
    await shows('[two,three]');
    const seen = new Set<string>();
    const observer = new MutationObserver(() => seen.add(text()));
    observer.observe(document.body, { childList: true, characterData: true, subtree: true });
    const suspended = (
      <Suspense fallback="waiting">
        <Suspended above={1} />
      </Suspense>
    );
    flushSync(() => page.rerender(within([<Titles key="a" sql={sql} parameters={[1]} />, <p key="b">{suspended}</p>])));
    await shows('[two,three]<two,three>');
    observer.disconnect();
    expect([...seen]).toEqual(['[two,three]<two,three>']);
  });

  test('it waits longer than queries linger without being forgotten', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const live = vi.spyOn(bench.client, 'live');
      // Without strict mode: there it would be asked for twice, and the second time put off the end.
      await renderSuspending(
        within(
          <Suspense fallback="waiting">
            <Suspended />
          </Suspense>,
        ),
      );
      vi.advanceTimersByTime(60_000);
      expect(text()).toBe('waiting');
      bench.client.connect();
      await vi.waitFor(() => expect(text()).toBe('<one,two,three>'));
      expect(live).toHaveBeenCalledTimes(1);
    } finally {
      vi.useRealTimers();
    }
  });

  test('in a transition the old rows stay until the new ones are there', async () => {
    const Page = (): ReactNode => {
      const [above, setAbove] = useState(0);
      const go = (): void => startTransition(() => setAbove(2));
      return (
        <>
          <button type="button" aria-label="go" onClick={go} />
          <Suspended above={above} />
        </>
      );
    };
    bench.client.connect();
    await renderSuspending(suspense(<Page />));
    await shows('<one,two,three>');
    const seen = new Set<string>();
    const observer = new MutationObserver(() => seen.add(text()));
    observer.observe(document.body, { childList: true, characterData: true, subtree: true });
    document.querySelector('button')?.click();
    await shows('<three>');
    observer.disconnect();
    expect([...seen]).toEqual(['<three>']);
  });

  test('a failure goes to the error boundary with its code', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    bench.client.connect();
    await bench.client.ready();
    const Broken = (): ReactNode => useSuspenseQuery('SELECT nothing FROM nowhere').length;
    await renderSuspending(suspense(<Broken />));
    await shows('caught CLIENT_QUERY_INVALID');
    vi.restoreAllMocks();
  });
});

describe('useStatus', () => {
  test('renders again only when the selected part changes', async () => {
    const renders: string[] = [];
    function Connection(): ReactNode {
      const connection = useStatus((status) => status.connection);
      renders.push(connection);
      return connection;
    }
    function Counts(): ReactNode {
      const { pending } = useStatus(
        ({ writes }) => ({ pending: writes.pending }),
        (a, b) => a.pending === b.pending,
      );
      renders.push(`${pending} pending`);
      return ` ${pending} pending`;
    }
    render(within([<Connection key="a" />, <Counts key="b" />]));
    expect(text()).toBe('offline 0 pending');
    bench.client.connect();
    await shows('connected 0 pending');
    renders.length = 0;
    await bench.client.write({ update: 'notes', values: { id: 1, title: 'x' } });
    await shows('connected 1 pending');
    bench.publish({ id: 2, title: 'y', count: 2 });
    await waitFor(() => expect(bench.client.status().checkpoint?.committedAtMs).toBe(2000));
    expect(renders).toEqual(['1 pending']);
    bench.client.disconnect();
    await shows('offline 1 pending');
  });
});

describe('useWrite and useRejected', () => {
  test('a write shows at once; what the source refuses is listed, takes its rows back and can be dismissed', async () => {
    const writes = new Set<Write>();
    const { result } = renderHook(
      () => {
        const write = useWrite();
        writes.add(write);
        return { write, ...useRejected() };
      },
      { wrapper: ({ children }) => within([<Titles key="a" />, children]) },
    );
    bench.client.connect();
    await shows('[one,two,three]');
    const change: WriteOperation = { update: 'notes', values: { id: 1, title: 'mine' } };
    expect(await result.current.write(change)).toEqual([[]]);
    await shows('[mine,two,three]');
    const { gateway, source } = bench;
    const clientId = gateway.hellos[0]?.clientId ?? '';
    const { seq = 0 } = gateway.uploads[0] ?? {};
    const [, , clients, refusals] = [...gateway.wanted];
    if (!clients || !refusals) throw new Error('the source has no streams of writes');
    source.beginFrame();
    source.set('sluice_client', recordRow(clientId, seq), [clients]);
    source.set('sluice_refusal', refusalRow(clientId, seq), [refusals]);
    gateway.push();
    await shows('[one,two,three]');
    await waitFor(() => expect(result.current.rejected).toMatchObject([{ code: 'WRITE_STALE', operations: [change] }]));
    await result.current.dismiss(result.current.rejected[0]?.id ?? 0);
    await waitFor(() => expect(result.current.rejected).toEqual([]));
    expect(writes.size).toBe(1);
  });

  test('without a client a write rejects with a code, and there is nothing rejected', async () => {
    const { result } = renderHook(() => ({ write: useWrite(), ...useRejected() }), {
      wrapper: ({ children }) => <SluiceProvider client={undefined}>{children}</SluiceProvider>,
    });
    expect(result.current.rejected).toEqual([]);
    await expect(result.current.write({ delete: 'notes', key: { id: 1 } })).rejects.toMatchObject({
      code: 'CLIENT_MISSING',
    });
    await expect(result.current.dismiss(1)).rejects.toMatchObject({ code: 'CLIENT_MISSING' });
  });
});

test('a page that a server rendered hydrates as it is, also where the rows are there already, and then shows them', async () => {
  render(within(<Titles />));
  bench.client.connect();
  await shows('[one,two,three]');
  const container = document.createElement('div');
  document.body.append(container);
  container.innerHTML = '<p>loading</p>offline';
  const complaints: unknown[] = [];
  const Connection = (): ReactNode => useStatus(({ connection }) => connection);
  const page = [<Titles key="a" />, <Connection key="b" />];
  const root = hydrateRoot(container, within(page), { onRecoverableError: (error) => complaints.push(error) });
  await waitFor(() => expect(container.textContent).toBe('[one,two,three]connected'));
  expect(complaints).toEqual([]);
  flushSync(() => root.unmount());
  container.remove();
});

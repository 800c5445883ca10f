import { getEventListeners } from 'node:events';
import { freshDatabase, manualClock, query, waitFor } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { migrate, openDatabase, type ProjectChange, watchProjectChanges } from './index.ts';

test('every change of a project reaches a listener, and a lost connection makes it read everything again', async () => {
  await using fresh = await freshDatabase('changes');
  await migrate({ url: fresh.url });
  const clock = manualClock();
  const db = openDatabase({ url: fresh.url, clock });
  const changes: ProjectChange[] = [];
  const lost: unknown[] = [];
  const stop = new AbortController();
  const watching = watchProjectChanges({
    url: fresh.url,
    clock,
    signal: stop.signal,
    onChange: (change) => changes.push(change),
    onLost: (error) => lost.push(error),
  });
  await waitFor(() => changes.length === 1, { what: 'the first full read' });
  expect(changes).toEqual([{ kind: 'all' }]);

  const { id } = await db.projects.create('watched');
  await waitFor(() => changes.some((change) => change.kind === 'project' && change.projectId === id), {
    what: 'the new project',
  });

  changes.length = 0;
  await query(fresh.url, "NOTIFY sluice_project_changed, 'not ours'");
  await waitFor(() => changes.length === 1, { what: 'a foreign notification' });
  expect(changes).toEqual([{ kind: 'all' }]);

  changes.length = 0;
  const ours = "application_name = 'sluice project changes' AND datname = current_database()";
  await query(fresh.url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${ours}`);
  await waitFor(() => lost.length > 0 && clock.pendingTimers > 0, { what: 'the loss' });
  await clock.advance(1_000);
  await waitFor(() => changes.length > 0, { what: 'the full read after it' });
  expect(changes[0]).toEqual({ kind: 'all' });
  expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1);

  stop.abort();
  await watching;
  await db.close();
});

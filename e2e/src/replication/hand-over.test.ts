import { freshDatabase } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { project } from './replicated-source.ts';
import { ALL_NOTES, deployedNotes, NEVER_MS, readButNotStored, runReplicator, runWorker } from './running-parts.ts';

it('L2: a replicator that is handed over reads nothing more, and gives its lease back when what it read is stored', async () => {
  await using database = await freshDatabase('hand_over');
  await using source = await deployedNotes(database.url);
  await using replicator = runReplicator(source, { drainMs: NEVER_MS });
  await readButNotStored(source);
  const handedOver = replicator.stop();
  for (let id = 4; id < 20; id++) {
    await source.sql(`insert into notes values (${id}, 'not read')`);
    expect(await source.store.acquireLease(project, 'another', 1_000)).toBe(undefined);
  }
  await using worker = runWorker(source);
  await handedOver;
  expect((await source.rows('notes')).map(([id]) => id)).toEqual([1, 2, 3]);
  await worker.stop();
  await source.restart();
  await source.shows('notes', ALL_NOTES);
});

it('L2: a hand-over waits no longer than it may, and the next holder streams again what was not stored', async () => {
  await using database = await freshDatabase('hand_over_late');
  await using source = await deployedNotes(database.url);
  await using replicator = runReplicator(source, { drainMs: 20 });
  await readButNotStored(source);
  await replicator.stop();
  expect((await source.rows('notes')).map(([id]) => id)).toEqual([1, 2]);
  await source.restart();
  await source.shows('notes', ALL_NOTES);
});

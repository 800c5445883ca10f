import { parseProjectId } from '@sluice/domain';
import { manualClock, waitFor } from '@sluice/testkit';
import type { Uploads } from '@sluice/uploads';
import { expect, it } from 'vitest';
import { WritesWatch } from './writes-watch.ts';

const project = parseProjectId(1);
type State = Awaited<ReturnType<Uploads['stateOf']>>;

function watchOf(answer: () => State) {
  const clock = manualClock();
  const told: string[] = [];
  let asked = 0;
  const uploads: Uploads = {
    stateOf: async () => {
      asked++;
      return answer();
    },
    write: async () => ({ result: 'retry', code: '', expected: 1 }),
  };
  const watch = new WritesWatch({
    uploads,
    project,
    clock,
    onChange: ({ state, code }) => void told.push(`${state} ${code}`.trim()),
    onFailure: () => void told.push('failure'),
  });
  const untilAsked = (times: number) => waitFor(() => asked >= times, { what: `${times} questions` });
  return { watch, clock, told, untilAsked };
}

it('without a writer all is read-only', () => {
  const options = { uploads: undefined, project, clock: manualClock(), onChange: () => {}, onFailure: () => {} };
  expect(new WritesWatch(options).current).toEqual({ type: 'writes', state: 'read-only', code: 'WRITES_NOT_SERVED' });
});

it('tells of changes alone, of those that nobody announced within seconds', async () => {
  let state: State = { state: 'enabled', code: '' };
  const { watch, clock, told, untilAsked } = watchOf(() => state);
  await untilAsked(1);
  watch.askAgain();
  await untilAsked(2);
  expect(told).toEqual(['enabled']);
  state = { state: 'unavailable', code: 'WRITES_ROLE_UNSAFE' };
  watch.askAgain();
  await waitFor(() => told.length === 2, { what: 'the end to be told' });
  state = { state: 'enabled', code: '' };
  await waitFor(
    async () => {
      await clock.advance(1000);
      return told.length === 3;
    },
    { what: 'the beginning to be told' },
  );
  expect(told).toEqual(['enabled', 'unavailable WRITES_ROLE_UNSAFE', 'enabled']);
  watch.close();
});

it('a writer that does not answer takes nothing', async () => {
  const { watch, told, untilAsked } = watchOf(() => {
    throw new Error('gone');
  });
  await untilAsked(1);
  await waitFor(() => watch.current, { what: 'an answer' });
  expect(told).toEqual(['failure', 'unavailable WRITES_BUSY']);
  watch.close();
});

import { randomBytes } from 'node:crypto';
import { randomFrom, testConfig } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { startStack } from '../stack/stack.ts';
import { runHistory } from './run-history.ts';

const { lane, seed } = testConfig();
/** The short lane begins no further history after this. */
const SHORT_LANE_MS = 20_000;
const LONG_LANE_HISTORIES = 1_000;
/** Histories mostly wait. Those at once share servers, so that one's killed store sessions strike the others too. */
const LONG_LANE_AT_ONCE = 4;
/** The long lane goes on after a failure, but not for ever. */
const LONG_LANE_FAILURES_MAX = 5;
const LONG_LANE_MS_MAX = 4 * 3_600_000;

it('L12: in any history of writes, table changes, memberships and broken links, clients show what SQL gives, and end equal to it', {
  timeout: lane === 'long' ? LONG_LANE_MS_MAX : 4 * SHORT_LANE_MS,
}, async () => {
  await using stack = await startStack();
  const startedMs = performance.now();
  let histories = 0;
  const failures: unknown[] = [];
  const isMore = (): boolean => {
    if (failures.length >= (lane === 'long' ? LONG_LANE_FAILURES_MAX : 1)) return false;
    if (seed !== undefined) return histories < 1;
    if (lane === 'long') return histories < LONG_LANE_HISTORIES;
    return performance.now() - startedMs < SHORT_LANE_MS;
  };
  const runOneAfterAnother = async (): Promise<void> => {
    while (isMore()) {
      const number = ++histories;
      const random = randomFrom(seed ?? randomBytes(4).readUInt32LE(0));
      process.stdout.write(`history ${number}: SLUICE_SEED=${random.seed}\n`);
      await runHistory(stack, random, `history-${number}`).catch((error: unknown) => {
        failures.push(error);
        process.stdout.write(`history ${number} failed: ${String(error)}\n`);
      });
    }
  };
  // Those that run beside one that failed need the stack until they are done.
  await Promise.all(Array.from({ length: lane === 'long' ? LONG_LANE_AT_ONCE : 1 }, runOneAfterAnother));
  expect(failures).toEqual([]);
  expect(histories).toBeGreaterThan(0);
});

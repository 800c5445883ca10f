import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SeededRandom } from '@sluice/testkit';
import { Finding } from '../oracle/finding.ts';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import { RandomStatements } from '../random/random-statements.ts';
import { RANDOM_STREAMS, RANDOM_USERS, randomTablesSql } from '../random/random-tables.ts';
import type { Stack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';

const TRANSACTIONS = 25;

/**
 * L12: the disk under a client's database is full again and again, in the middle of a checkpoint; what the client shows
 * then is still one checkpoint, whole.
 */
export async function fullDisk(stack: Stack, random: SeededRandom, ref: string): Promise<void> {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'sluice-full-disk-'));
  const disk = fillingDisk(folder);
  const tenant = await stack.addTenant({ ref, tablesSql: randomTablesSql(random), streams: RANDOM_STREAMS });
  try {
    const check = await PrefixCheck.begin(tenant, RANDOM_USERS);
    const client = await tenant.connect({ sub: 'ben', region: 'north' }, { file: path.join(folder, 'ben.db') });
    check.watch(client);
    await tenant.caughtUp(client);
    const statements = new RandomStatements(random);
    for (let i = 0; i < TRANSACTIONS; i++) {
      disk.failAfter(random.int(0, 6));
      const tick = await check.commit(...statements.transaction(), ...statements.transaction());
      await Promise.race([client.reaches(tick), refusal(client)]);
      expectNoProblems(check);
      await client.reaches(tick);
    }
    disk.heal();
    await tenant.expectEqual(client);
    expectNoProblems(check);
    if (disk.failures === 0) throw new Error('the disk was never full');
  } finally {
    disk.heal();
    await stack.removeTenant(tenant);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Resolves once the client has told that it could not apply a checkpoint, and what it then shows was looked at. */
async function refusal({ sdk }: SyncClient): Promise<void> {
  await new Promise<void>((resolve) => {
    sdk.onStatus(({ lastError }) => {
      if (lastError) resolve();
    });
  });
  await nextTurn();
}

function expectNoProblems(check: PrefixCheck): void {
  const problems = check.problems();
  if (problems.length > 0) throw new Finding(problems.join('\n'));
}

/** Lets writes into files of the folder fail, each time once. */
function fillingDisk(folder: string): { failAfter(writes: number): void; heal(): void; readonly failures: number } {
  const { openSync, writeSync } = fs;
  const ours = new Set<number>();
  let left = Number.POSITIVE_INFINITY;
  let failures = 0;
  Object.assign(fs, {
    openSync: (...args: Parameters<typeof openSync>) => {
      const fd = openSync(...args);
      if (String(args[0]).startsWith(folder)) ours.add(fd);
      else ours.delete(fd);
      return fd;
    },
    writeSync: (fd: number, ...args: unknown[]) => {
      if (ours.has(fd) && left-- <= 0) {
        left = Number.POSITIVE_INFINITY;
        failures++;
        throw Object.assign(new Error('the disk is full'), { code: 'ENOSPC' });
      }
      return Reflect.apply(writeSync, fs, [fd, ...args]);
    },
  });
  return {
    failAfter(writes) {
      left = writes;
    },
    heal() {
      left = Number.POSITIVE_INFINITY;
    },
    get failures() {
      return failures;
    },
  };
}

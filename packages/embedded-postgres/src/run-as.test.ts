import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isReachableByAll, parseAccount } from './run-as.ts';

describe('parseAccount', () => {
  const passwd = 'root:x:0:0:root:/root:/bin/bash\npostgres:x:103:110:,,,:/var/lib/postgresql:/bin/bash\nbad:x:y:z\n';
  it('finds the account by its whole name', () => {
    expect(parseAccount(passwd, 'postgres')).toEqual({ uid: 103, gid: 110 });
    expect(parseAccount(passwd, 'post')).toBeUndefined();
  });
  it('takes no account from a broken line', () => {
    expect(parseAccount(passwd, 'bad')).toBeUndefined();
  });
});

describe('isReachableByAll', () => {
  it('is false below a folder that only its owner may enter, also for files that do not exist yet', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-reach-'));
    try {
      await chmod(folder, 0o755);
      await mkdir(join(folder, 'a'));
      expect(await isReachableByAll(join(folder, 'a', 'later', 'data'))).toBe(true);
      await chmod(folder, 0o700);
      expect(await isReachableByAll(join(folder, 'a', 'later', 'data'))).toBe(false);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

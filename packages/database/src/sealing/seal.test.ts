import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseProjectId } from '@sluice/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKeyFileIfMissing, openFileKeys } from './file-keys.ts';
import type { KeyEncryption } from './key-encryption.ts';
import { openSecret, type SecretPlace, sealSecret } from './seal.ts';

const place: SecretPlace = { projectId: parseProjectId(7), field: 'source.password', revision: 3 };
const canary = 'pässword-canary-☂';
const unreadable = { code: 'SECRET_UNREADABLE' };
let folder = '';
let keys: KeyEncryption;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sluice-keys-'));
  const file = path.join(folder, 'keys');
  await createKeyFileIfMissing(file);
  keys = await openFileKeys(file);
});
afterAll(async () => await rm(folder, { recursive: true }));

describe('a sealed secret', () => {
  test('opens where it was sealed and shows nothing of itself', async () => {
    const sealed = await sealSecret(keys, place, canary);
    expect(Buffer.from(sealed).includes(Buffer.from('canary'))).toBe(false);
    expect(await openSecret(keys, place, sealed)).toBe(canary);
  });

  test.each<[string, SecretPlace]>([
    ['project', { ...place, projectId: parseProjectId(8) }],
    ['field', { ...place, field: 'client-auth.shared-secret' }],
    ['revision', { ...place, revision: 4 }],
  ])('does not open for another %s', async (_what, elsewhere) => {
    const sealed = await sealSecret(keys, place, canary);
    await expect(openSecret(keys, elsewhere, sealed)).rejects.toMatchObject(unreadable);
  });

  test('is refused whole when any byte is altered, missing or added', async () => {
    const sealed = await sealSecret(keys, place, canary);
    for (let at = 0; at < sealed.length; at++) {
      const altered = sealed.slice();
      altered[at] = (altered[at] ?? 0) ^ 1;
      await expect(openSecret(keys, place, altered)).rejects.toMatchObject(unreadable);
      await expect(openSecret(keys, place, sealed.subarray(0, at))).rejects.toMatchObject(unreadable);
    }
    await expect(openSecret(keys, place, Buffer.concat([sealed, Buffer.of(0)]))).rejects.toMatchObject(unreadable);
  });

  test('has a data key of its own, so equal secrets do not look equal', async () => {
    const [a, b] = await Promise.all([sealSecret(keys, place, canary), sealSecret(keys, place, canary)]);
    expect(Buffer.compare(a, b)).not.toBe(0);
  });
});

describe('the key file', () => {
  test('is rotated by appending a key: old secrets open, new ones need the new key', async () => {
    const file = path.join(folder, 'rotated');
    await createKeyFileIfMissing(file);
    const before = await readFile(file, 'utf8');
    const old = await sealSecret(await openFileKeys(file), place, canary);
    await writeFile(file, `${before}k2:${'ab'.repeat(32)}\n`);
    const rotated = await openFileKeys(file);
    expect(await openSecret(rotated, place, old)).toBe(canary);
    const fresh = await sealSecret(rotated, place, canary);
    await writeFile(file, before);
    await expect(openSecret(await openFileKeys(file), place, fresh)).rejects.toMatchObject(unreadable);
  });

  test('is never written over', async () => {
    const file = path.join(folder, 'kept');
    await Promise.all([1, 2, 3].map(() => createKeyFileIfMissing(file)));
    const text = await readFile(file, 'utf8');
    await createKeyFileIfMissing(file);
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  test.each([
    ['missing', undefined, 0o600],
    ['empty', '', 0o600],
    ['a short key', `k1:${'ab'.repeat(31)}\n`, 0o600],
    ['the same id twice', `k1:${'ab'.repeat(32)}\nk1:${'cd'.repeat(32)}\n`, 0o600],
    ['readable by others', `k1:${'ab'.repeat(32)}\n`, 0o644],
  ])('is refused with a code when it is %s', async (what, text, mode) => {
    const file = path.join(folder, what);
    if (text !== undefined) await writeFile(file, text);
    if (text !== undefined) await chmod(file, mode);
    await expect(openFileKeys(file)).rejects.toMatchObject({ code: 'SECRET_KEY_FILE_INVALID' });
  });
});

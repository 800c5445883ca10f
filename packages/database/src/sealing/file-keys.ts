import { randomBytes } from 'node:crypto';
import { link, open, readFile, stat, unlink } from 'node:fs/promises';
import { parseHex } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { decrypt, encrypt, KEY_BYTES } from './aes-gcm.ts';
import type { KeyEncryption } from './key-encryption.ts';

/**
 * Key-encryption keys from a file that only its owner may read: `<key id>:<64 hex digits>`, one a line. The last line
 * wraps new data keys, the others only unwrap, so a key is rotated by appending one. Meant for one machine; a hosted
 * platform puts its key-management service behind the same port.
 * @throws AppError SECRET_KEY_FILE_INVALID
 */
export async function openFileKeys(path: string): Promise<KeyEncryption> {
  const keyById = parseKeyFile(await readKeyFile(path));
  const [currentId, currentKey] = [...keyById].at(-1) ?? invalid('the file holds no key');
  return {
    async wrap(dataKey, context) {
      return { keyId: currentId, wrapped: encrypt(currentKey, dataKey, context) };
    },
    async unwrap(keyId, wrapped, context) {
      const key = keyById.get(keyId);
      if (!key) throw new Error(`no key-encryption key ${keyId}`);
      return decrypt(key, wrapped, context);
    },
  };
}

/** Writes a file with one fresh key unless one stands there already; racing processes end with the same file. */
export async function createKeyFileIfMissing(path: string): Promise<void> {
  // Linked into place whole, so that nobody ever reads half a file, and never over a file that stands there.
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(`k1:${randomBytes(KEY_BYTES).toString('hex')}\n`);
    await handle.sync();
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await handle.close();
    await unlink(draft);
  }
}

async function readKeyFile(path: string): Promise<string> {
  const readableByOthers = 0o077;
  try {
    const { mode } = await stat(path);
    if (process.platform !== 'win32' && (mode & readableByOthers) !== 0) invalid('others than its owner may read it');
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('SECRET_KEY_FILE_INVALID', { cause });
  }
}

function parseKeyFile(text: string): ReadonlyMap<string, Uint8Array> {
  const keyById = new Map<string, Uint8Array>();
  for (const line of text.split('\n').filter((candidate) => candidate !== '')) {
    const [, id, hex] = /^([A-Za-z0-9_-]{1,32}):([0-9a-f]{64})$/.exec(line) ?? invalid('a line is not <id>:<hex>');
    if (id === undefined || hex === undefined || keyById.has(id)) invalid('a key id occurs twice');
    keyById.set(id, parseHex(hex));
  }
  return keyById;
}

function invalid(internal: string): never {
  throw new AppError('SECRET_KEY_FILE_INVALID', { internal });
}

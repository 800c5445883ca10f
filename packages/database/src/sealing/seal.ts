import { randomBytes } from 'node:crypto';
import { ByteReader, ByteWriter, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { decrypt, encrypt, KEY_BYTES } from './aes-gcm.ts';
import type { KeyEncryption } from './key-encryption.ts';

/** Where a secret belongs. It opens nowhere else: not for another project, field or revision. */
export interface SecretPlace {
  readonly projectId: ProjectId;
  readonly field: 'source.password' | 'client-auth.shared-secret';
  readonly revision: number;
}

/** Stored form, version 1: version byte, key id (text), wrapped data key (blob), sealed secret (blob). */
const SEAL_VERSION = 1;
const SEALED_BYTES_MAX = 64 * 1024;

/** Encrypts `secret` under a data key of its own, which the key-encryption key wraps. */
export async function sealSecret(keys: KeyEncryption, place: SecretPlace, secret: string): Promise<Uint8Array> {
  const context = contextOf(place);
  const dataKey = randomBytes(KEY_BYTES);
  const { keyId, wrapped } = await keys.wrap(dataKey, context);
  const out = new ByteWriter();
  out.u8(SEAL_VERSION);
  out.text(keyId);
  out.blob(wrapped);
  out.blob(encrypt(dataKey, new TextEncoder().encode(secret), context));
  dataKey.fill(0);
  return out.take();
}

/** @throws AppError SECRET_UNREADABLE when the place, a key or any byte is not the one it was sealed with. */
export async function openSecret(keys: KeyEncryption, place: SecretPlace, sealed: Uint8Array): Promise<string> {
  try {
    const context = contextOf(place);
    const reader = new ByteReader(sealed);
    if (reader.u8() !== SEAL_VERSION) throw new Error('unknown seal version');
    const keyId = reader.text(SEALED_BYTES_MAX);
    const wrapped = reader.blob(SEALED_BYTES_MAX);
    const body = reader.blob(SEALED_BYTES_MAX);
    reader.finish();
    const dataKey = await keys.unwrap(keyId, wrapped, context);
    return new TextDecoder('utf-8', { fatal: true }).decode(decrypt(dataKey, body, context));
  } catch (cause) {
    throw new AppError('SECRET_UNREADABLE', { cause });
  }
}

function contextOf(place: SecretPlace): Uint8Array {
  return new TextEncoder().encode(`sluice/secret/1|${place.projectId}|${place.field}|${place.revision}`);
}

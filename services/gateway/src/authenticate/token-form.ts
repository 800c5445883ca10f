import { AppError } from '@sluice/errors';
import { LIMITS } from '@sluice/protocol';
import { hasRepeatedKey } from './repeated-key.ts';

export interface TokenForm {
  readonly algorithm: string;
  readonly keyId: string | undefined;
}

/**
 * What a token must look like before any key is touched. Stricter than the library that verifies it: each part is the
 * one base64url form of its bytes, and no JSON object repeats a key, so that nobody reads another token than we do.
 * @throws AppError AUTH_TOKEN_TOO_LARGE or AUTH_TOKEN_MALFORMED
 */
export function parseTokenForm(token: string): TokenForm {
  if (token.length > LIMITS.tokenBytesMax) throw new AppError('AUTH_TOKEN_TOO_LARGE');
  const parts = token.split('.');
  const [head, payload, signature] = parts;
  if (parts.length !== 3 || !head || !payload || signature === undefined) throw malformed('not three parts');
  const header = parseObject(bytesOf(head));
  parseObject(bytesOf(payload));
  bytesOf(signature);
  const { alg, kid } = header;
  if (typeof alg !== 'string') throw malformed('no alg');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > 256)) throw malformed('kid');
  return { algorithm: alg, keyId: kid };
}

function bytesOf(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw malformed('not canonical base64url');
  return bytes;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw malformed('not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('not an object');
  if (hasRepeatedKey(text)) throw malformed('a repeated key');
  return value as Record<string, unknown>;
}

function malformed(why: string): AppError {
  return new AppError('AUTH_TOKEN_MALFORMED', { internal: why });
}

import { AppError } from '@sluice/errors';
import { type HostPolicy, parseHost, parsePort } from '../sources/parse-host.ts';

/** Algorithms of RFC 7518 and RFC 8037 that tokens may be signed with; none mixes a public key with a shared secret. */
export const ASYMMETRIC_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;

const SHARED_SECRET_BYTES_MIN = 32;
const JWKS_KEYS_MAX = 100;
/** 2048 bits, the least that RFC 7518 allows, in base64url characters without padding. */
const RSA_MODULUS_CHARS_MIN = 342;
/** Members of a JWK that only a private or symmetric key has (RFC 7518, section 6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** @throws AppError CLIENT_AUTH_INVALID when the secret is too short for HMAC with SHA-256 (RFC 7518, section 3.2) */
export function checkSharedSecret(secret: string): void {
  const bytes = new TextEncoder().encode(secret).length;
  if (bytes < SHARED_SECRET_BYTES_MIN) throw invalid(`the shared secret has ${bytes} bytes, at least 32 are needed`);
}

/**
 * The gateway fetches this URL, so it may only lead where a source may lead.
 * @throws AppError CLIENT_AUTH_INVALID, CONN_HOST_FORBIDDEN
 */
export function checkJwksUrl(text: string, policy: HostPolicy): void {
  const match = /^(https?):\/\/(\[[^\]]*\]|[^:/?#[\]@]*)(?::([0-9]*))?(?:[/?][\x21-\x7e]*)?$/.exec(text);
  if (!match) throw invalid('the JWKS URL is not an http or https URL without credentials');
  const [, scheme, host = '', port] = match;
  if (text.includes('#')) throw invalid('the JWKS URL has a fragment');
  if (policy === 'hosted' && scheme !== 'https') throw invalid('the JWKS URL must be https');
  parseHost(host, policy);
  // The default port of https is a system port, which the rule for sources excludes.
  if (port !== undefined && port !== '443') parsePort(port, policy);
}

/** @throws AppError CLIENT_AUTH_INVALID when a key is private, symmetric, too weak or not a key at all */
export function checkJwks(jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] }): void {
  if (jwks.keys.length === 0) throw invalid('the JWKS holds no key');
  if (jwks.keys.length > JWKS_KEYS_MAX) throw invalid(`the JWKS holds more than ${JWKS_KEYS_MAX} keys`);
  for (const [index, key] of jwks.keys.entries()) {
    const problem = problemOfKey(key);
    if (problem) throw invalid(`key ${index + 1} of the JWKS ${problem}`);
  }
}

function problemOfKey(key: Readonly<Record<string, unknown>>): string | undefined {
  if (PRIVATE_MEMBERS.some((member) => member in key)) return 'is private or symmetric; send public keys only';
  const { kty, n, crv, x } = key;
  switch (kty) {
    case 'RSA':
      if (typeof n === 'string' && n.length >= RSA_MODULUS_CHARS_MIN) return undefined;
      return 'is an RSA key of less than 2048 bits';
    case 'EC':
    case 'OKP':
      return typeof crv === 'string' && typeof x === 'string' ? undefined : 'has no curve or no point';
    default:
      return 'is of an unknown type';
  }
}

function invalid(reason: string): AppError {
  return new AppError('CLIENT_AUTH_INVALID', { details: { reason } });
}

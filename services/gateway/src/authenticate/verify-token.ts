import type { Clock, ProjectId } from '@sluice/domain';
import { AppError, type Code } from '@sluice/errors';
import { errors, type JWTPayload, jwtVerify, type LocalJWKSet } from 'jose';
import { type ClientAuth, usableAlgorithms } from './client-auth.ts';
import { type KeySets, keySetFrom } from './key-sets.ts';
import { parseTokenForm, type TokenForm } from './token-form.ts';

export interface VerifiedToken {
  readonly subject: string;
  readonly tokenClaims: Readonly<Record<string, unknown>>;
  /** Unix milliseconds: `exp` and the tolerance. */
  readonly expiresAtMs: number;
}

const SECRET_BYTES_MIN = 32;
const SUBJECT_CHARACTERS_MAX = 256;

/** Verifies tokens by their project's settings. Nothing of a token or key ever gets into an error or log. */
export class TokenVerifier {
  private readonly clock: Clock;
  private readonly keySets: KeySets;
  private readonly toleranceS: number;

  /** @param toleranceS how far the signer's clock may be off, seconds */
  constructor(options: { clock: Clock; keySets: KeySets; toleranceS: number }) {
    this.clock = options.clock;
    this.keySets = options.keySets;
    this.toleranceS = options.toleranceS;
  }

  /** @throws AppError with a code AUTH_* */
  async verify(project: ProjectId, auth: ClientAuth, token: string): Promise<VerifiedToken> {
    const form = parseTokenForm(token);
    const algorithms = usableAlgorithms(auth);
    if (algorithms.length === 0) throw new AppError('AUTH_SETTINGS', { internal: 'no usable algorithm' });
    if (!algorithms.includes(form.algorithm)) throw new AppError('AUTH_ALGORITHM');
    const claims = await this.signedClaims(project, auth, token, form, algorithms);
    return this.checkedClaims(claims, auth);
  }

  private async signedClaims(
    project: ProjectId,
    auth: ClientAuth,
    token: string,
    form: TokenForm,
    algorithms: string[],
  ): Promise<JWTPayload> {
    const audience = [auth.audience ?? []].flat();
    const options = {
      algorithms,
      currentDate: new Date(this.clock.nowMs()),
      clockTolerance: this.toleranceS,
      ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
      ...(audience.length === 0 ? {} : { audience }),
    };
    try {
      const { keys } = auth;
      if (keys.kind === 'hs256') return (await jwtVerify(token, secretOf(keys.secret), options)).payload;
      return (await jwtVerify(token, await this.keySetOf(project, keys, form), options)).payload;
    } catch (error) {
      throw refusalFrom(error);
    }
  }

  private async keySetOf(
    project: ProjectId,
    keys: Exclude<ClientAuth['keys'], { kind: 'hs256' }>,
    { keyId }: TokenForm,
  ): Promise<LocalJWKSet> {
    // Without a name, a token would fit whatever key happens to be alone in the set.
    if (keyId === undefined) throw new AppError('AUTH_KEY_UNKNOWN', { internal: 'no kid' });
    if (keys.kind === 'inline-jwks') return keySetFrom(keys.jwks).keys;
    return this.keySets.keysFor(project, keys.url, keyId);
  }

  private checkedClaims(claims: JWTPayload, auth: ClientAuth): VerifiedToken {
    const { sub, iat, exp, nbf } = claims;
    if (typeof sub !== 'string' || sub === '' || sub.length > SUBJECT_CHARACTERS_MAX || !isText(sub))
      throw wrongClaim('sub');
    if (!isWholeSeconds(iat)) throw wrongClaim('iat');
    if (!isWholeSeconds(exp) || exp <= iat) throw wrongClaim('exp');
    if (nbf !== undefined && !isWholeSeconds(nbf)) throw wrongClaim('nbf');
    if (exp - iat > auth.maxTokenAgeSeconds)
      throw new AppError('AUTH_LIFETIME', { details: { maxSeconds: auth.maxTokenAgeSeconds } });
    if (iat * 1000 > this.clock.nowMs() + this.toleranceS * 1000) throw new AppError('AUTH_NOT_YET_VALID');
    return { subject: sub, tokenClaims: claims, expiresAtMs: (exp + this.toleranceS) * 1000 };
  }
}

function secretOf(secret: Uint8Array): Uint8Array {
  if (secret.length < SECRET_BYTES_MIN) throw new AppError('AUTH_SETTINGS', { internal: 'short secret' });
  return secret;
}

/** NUL cannot be a Postgres text, and a lone surrogate has no UTF-8 form. */
function isText(value: string): boolean {
  return !value.includes('\0') && Buffer.from(value, 'utf8').toString('utf8') === value;
}
function isWholeSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}
function wrongClaim(claim: string): AppError {
  return new AppError('AUTH_CLAIMS', { details: { claim } });
}

/** One code for each reason; what the library says of the token stays out of it. */
function refusalFrom(error: unknown): AppError {
  if (error instanceof AppError) return error;
  // Not the error itself: some of them carry the token's payload.
  const internal = error instanceof Error ? error.name : 'unknown';
  const because = (code: Code) => new AppError(code, { internal });
  if (error instanceof errors.JWTExpired) return because('AUTH_EXPIRED');
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'iss') return because('AUTH_ISSUER');
    if (error.claim === 'aud') return because('AUTH_AUDIENCE');
    if (error.claim === 'nbf' && error.reason === 'check_failed') return because('AUTH_NOT_YET_VALID');
    return wrongClaim(error.claim);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return because('AUTH_SIGNATURE');
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
    return because('AUTH_KEY_UNKNOWN');
  if (error instanceof errors.JOSEAlgNotAllowed) return because('AUTH_ALGORITHM');
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) return because('AUTH_TOKEN_MALFORMED');
  if (error instanceof errors.JOSENotSupported) return because('AUTH_TOKEN_MALFORMED');
  // What is left are keys that cannot be used: too short, of another type, or broken.
  return because('AUTH_SETTINGS');
}

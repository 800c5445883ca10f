import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '@sluice/config';
import { AppError } from '@sluice/errors';
import type { FastifyRequest } from 'fastify';

/** The only routes without a token; every other one, also one that does not exist, asks for it. */
const PUBLIC_ROUTES: readonly (string | undefined)[] = ['/health/live', '/health/ready'];

/**
 * Asks every request for the operator's API token, before its body is read: who has none makes us parse nothing.
 * @returns a hook for Fastify's `onRequest`, which throws AppError API_UNAUTHENTICATED
 */
export function requireToken(token: Secret): (request: FastifyRequest) => Promise<void> {
  const expected = digest(token.reveal());
  return async (request) => {
    if (PUBLIC_ROUTES.includes(request.routeOptions.url)) return;
    const [, given = ''] = /^Bearer ([\x21-\x7e]{1,512})$/.exec(request.headers.authorization ?? '') ?? [];
    // Digests are equally long and compared in constant time, so the answer's time tells nothing of the token.
    if (!timingSafeEqual(digest(given), expected)) throw new AppError('API_UNAUTHENTICATED');
  };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

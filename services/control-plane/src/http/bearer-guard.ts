import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, SetMetadata } from '@nestjs/common';
import type { Reflector } from '@nestjs/core';
import type { Secret } from '@sluice/config';
import { AppError } from '@sluice/errors';
import type { FastifyRequest } from 'fastify';

const PUBLIC = 'sluice:public';

/** Routes are closed unless they say this; health is the only one that does. */
export const PublicRoute = (): MethodDecorator & ClassDecorator => SetMetadata(PUBLIC, true);

/** Asks every request for the operator's API token. */
export class BearerGuard implements CanActivate {
  readonly #reflector: Reflector;
  readonly #expected: Buffer;

  constructor(reflector: Reflector, token: Secret) {
    this.#reflector = reflector;
    this.#expected = digest(token.reveal());
  }

  /** @throws AppError API_UNAUTHENTICATED */
  canActivate(context: ExecutionContext): boolean {
    const isPublic = this.#reflector.getAllAndOverride<boolean | undefined>(PUBLIC, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (isPublic) return true;
    const { authorization } = context.switchToHttp().getRequest<FastifyRequest>().headers;
    const [, token = ''] = /^Bearer ([\x21-\x7e]{1,512})$/.exec(authorization ?? '') ?? [];
    // Digests are equally long and compared in constant time, so the answer's time tells nothing of the token.
    if (!timingSafeEqual(digest(token), this.#expected)) throw new AppError('API_UNAUTHENTICATED');
    return true;
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

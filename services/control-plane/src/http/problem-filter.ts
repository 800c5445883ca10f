import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import { AppError, isAppError } from '@sluice/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ControlPlaneEvents } from '../events.ts';
import { statusOf } from './problem.ts';

/** Turns whatever a request ended with into a problem document. Only AppErrors say more than that it failed. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #events: ControlPlaneEvents;
  readonly #bodyBytesMax: number;

  constructor(events: ControlPlaneEvents, bodyBytesMax: number) {
    this.#events = events;
    this.#bodyBytesMax = bodyBytesMax;
  }

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const error = this.#appErrorFrom(thrown);
    const status = statusOf(error.code);
    if (status >= 500) this.#events.requestFailed(request.id, error);
    void reply
      .status(status)
      .header('content-type', 'application/problem+json; charset=utf-8')
      .send({ ...error.toPublic(), requestId: request.id });
  }

  #appErrorFrom(thrown: unknown): AppError {
    if (isAppError(thrown)) return thrown;
    switch (statusOfFramework(thrown)) {
      case 400:
        return new AppError('API_REQUEST_INVALID', {
          details: { fields: ['body: not well-formed JSON'] },
          cause: thrown,
        });
      case 404:
        return new AppError('API_ROUTE_NOT_FOUND');
      case 413:
        return new AppError('API_REQUEST_TOO_LARGE', { details: { maxBytes: this.#bodyBytesMax } });
      case 415:
        return new AppError('API_MEDIA_TYPE_UNSUPPORTED');
      default:
        return new AppError('API_INTERNAL', { cause: thrown });
    }
  }
}

/** What Nest and Fastify say of a request that never reached a handler of ours. */
function statusOfFramework(thrown: unknown): number | undefined {
  if (thrown instanceof HttpException) return thrown.getStatus();
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return undefined;
  return typeof thrown.statusCode === 'number' ? thrown.statusCode : undefined;
}

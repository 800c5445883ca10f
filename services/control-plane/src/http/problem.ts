import { applyDecorators } from '@nestjs/common';
import { ApiResponse } from '@nestjs/swagger';
import type { CodedProblem } from '@sluice/database';
import { AppError, type Code, definitionOf } from '@sluice/errors';
import { z } from 'zod';

/** The body of every error answer, as application/problem+json. */
export const problemSchema = z
  .strictObject({
    code: z.string().describe('Stable; docs/errors.md lists them all.'),
    message: z.string().describe('What happened.'),
    remedy: z.string().describe('How to put it right.'),
    details: z.record(z.string(), z.unknown()).describe('What the message and the remedy are about.'),
    requestId: z.string().describe('Find the request in the log of the control plane with it.'),
  })
  .meta({ id: 'Problem' });

/** Why something is in a failed state; as a problem, without a request. */
export const storedProblemSchema = problemSchema.omit({ requestId: true }).meta({ id: 'StoredProblem' });
export type StoredProblem = z.infer<typeof storedProblemSchema>;

export function problemFromError(error: AppError): StoredProblem {
  return { ...error.toPublic() };
}

/** A stored code with the words of the catalogue. */
export function viewOfProblem(problem: CodedProblem | undefined): StoredProblem | null {
  return problem ? problemFromError(new AppError(problem.code, { details: problem.details })) : null;
}

/** Codes that any authenticated route may answer with. */
const CODES_OF_EVERY_ROUTE: readonly Code[] = ['API_UNAUTHENTICATED', 'API_INTERNAL', 'API_UNAVAILABLE'];

/** Documents the codes that a route answers with, by status. */
export function ApiProblems(...codes: readonly Code[]): MethodDecorator & ClassDecorator {
  const codesByStatus = new Map<number, Code[]>();
  for (const code of [...CODES_OF_EVERY_ROUTE, ...codes]) {
    const status = statusOf(code);
    codesByStatus.set(status, [...(codesByStatus.get(status) ?? []), code]);
  }
  return applyDecorators(...Array.from(codesByStatus, ([status, each]) => problemResponse(status, each)));
}

function problemResponse(status: number, codes: readonly Code[]) {
  const examples = codes.map((code) => {
    const { what, how } = definitionOf(code);
    return [code, { value: { code, message: what, remedy: how, details: {}, requestId: 'req-1f0c' } }];
  });
  return ApiResponse({
    status,
    description: codes.join(', '),
    content: {
      'application/problem+json': {
        schema: { $ref: '#/components/schemas/Problem' },
        examples: Object.fromEntries(examples),
      },
    },
  });
}

/** A code's own status, else one by whose move it is: the tenant's request or source, our platform, or time's. */
export function statusOf(code: Code): number {
  const { status, who } = definitionOf(code);
  if (status !== undefined) return status;
  if (who === 'nobody') return 503;
  return who === 'operator' ? 500 : 422;
}

import { HttpCode } from '@nestjs/common';
import { ApiBody, ApiResponse } from '@nestjs/swagger';
import { ZodSerializerDto } from 'nestjs-zod';
import { z } from 'zod';

/** A class made by `createZodDto` from a schema that carries an id. */
interface Dto<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema;
}

const DESCRIPTION_BY_STATUS = { 200: 'OK', 201: 'Created', 202: 'Accepted' } as const;

/** Documents the body that a route takes. */
export function ApiTakes(dto: Dto): MethodDecorator {
  return ApiBody({ schema: { $ref: refOf(dto) } });
}

/**
 * Documents what a route answers with, and makes it so: the return type is checked by the compiler, and the answer is
 * parsed by the schema, so that a field it does not name never leaves.
 */
export function ApiAnswers<Schema extends z.ZodType>(dto: Dto<Schema>, status: keyof typeof DESCRIPTION_BY_STATUS) {
  const description = DESCRIPTION_BY_STATUS[status];
  const response = { status, description, content: { 'application/json': { schema: { $ref: refOf(dto) } } } };
  type Handler = (...parameters: never[]) => z.input<Schema> | Promise<z.input<Schema>>;
  return <T extends Handler>(target: object, key: string, descriptor: TypedPropertyDescriptor<T>): void => {
    for (const decorate of [HttpCode(status), ZodSerializerDto(dto as never), ApiResponse(response)])
      decorate(target, key, descriptor);
  };
}

/** The schemas that routes refer to, as the components of an OpenAPI document. */
export function schemaComponents(): Record<string, object> {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { io: 'input', uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(
    Object.entries(schemas)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { $id: _id, $schema: _dialect, id: _ownId, ...schema }]) => [id, schema]),
  );
}

function refOf({ schema }: Dto): string {
  const id = z.globalRegistry.get(schema)?.id;
  if (id === undefined) throw new Error('a schema of the API has no id');
  return `#/components/schemas/${id}`;
}

import type { PipeTransform } from '@nestjs/common';
import { AppError } from '@sluice/errors';
import type { z } from 'zod';

const FIELDS_MAX = 20;
const FIELD_CHARS_MAX = 200;

/**
 * Parses a body or a query with the schema of its DTO: `@Body(parseWith(CreateProjectDto))`. Named at each parameter
 * rather than found by reflection, so that no build can lose it.
 * @throws AppError API_REQUEST_INVALID with the path and the problem of each field, never its value
 */
export function parseWith<Schema extends z.ZodType>(dto: { readonly schema: Schema }): PipeTransform {
  return {
    transform(value: unknown): z.output<Schema> {
      const result = dto.schema.safeParse(value ?? {});
      if (result.success) return result.data;
      const fields = result.error.issues
        .slice(0, FIELDS_MAX)
        .map(({ path, message }) => `${path.map(String).join('.') || 'body'}: ${message}`.slice(0, FIELD_CHARS_MAX));
      throw new AppError('API_REQUEST_INVALID', { details: { fields } });
    },
  };
}

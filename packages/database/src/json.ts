import type { InputJsonValue, JsonValue } from '@prisma/client/runtime/client';
import { Prisma } from './generated/client.ts';

/** What a jsonb column holds. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** SQL NULL for undefined; the types of Prisma ask for mutable JSON, which it never changes. */
export function jsonColumn(value: Json | undefined): InputJsonValue | typeof Prisma.DbNull {
  return value === undefined ? Prisma.DbNull : (value as InputJsonValue);
}

export function jsonFromColumn(value: JsonValue | null): Json | undefined {
  return value === null ? undefined : (value as Json);
}

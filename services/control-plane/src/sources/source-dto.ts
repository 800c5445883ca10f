import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { storedProblemSchema } from '../http/problem.ts';
import { checkResultSchema } from '../jobs/job-dto.ts';

/** `ready`: it was reached and passed its checks; `live`: it is being streamed. */
export const sourceStateSchema = z.enum(['unchecked', 'ready', 'live', 'failed']);

const CA_CHARS_MAX = 64 * 1024;

export class PutSourceDto extends createZodDto(
  z
    .strictObject({
      connectionString: z
        .string()
        .max(4096)
        .describe('postgres://user:password@host:port/database?sslmode=verify-full; no parameter but sslmode.'),
      ca: z
        .string()
        .max(CA_CHARS_MAX)
        .optional()
        .describe("PEM text of the server's certificate authority, when it is not a public one."),
    })
    .meta({
      id: 'PutSource',
      examples: [{ connectionString: 'postgres://sluice:secret@db.example.com:5432/app?sslmode=verify-full' }],
    }),
) {}

export const sourceSchema = z
  .strictObject({
    host: z.string(),
    port: z.int(),
    database: z.string(),
    user: z.string(),
    tlsMode: z.enum(['disable', 'require', 'verify-ca', 'verify-full']),
    hasCa: z.boolean(),
    slotName: z.string().nullable().describe('The replication slot on the source; null until it is streamed.'),
    publicationName: z.string().nullable(),
    serverVersion: z.int().nullable().describe('As server_version_num; null until the source was reached.'),
    state: sourceStateSchema,
    problem: storedProblemSchema.nullable(),
    updatedAt: z.iso.datetime(),
  })
  .meta({
    id: 'Source',
    examples: [
      {
        host: 'db.example.com',
        port: 5432,
        database: 'app',
        user: 'sluice',
        tlsMode: 'verify-full',
        hasCa: false,
        slotName: 'sluice_1_0f3a9c27b1de',
        publicationName: 'sluice_1_0f3a9c27b1de',
        serverVersion: 180004,
        state: 'live',
        problem: null,
        updatedAt: '2030-01-01T00:00:00.000Z',
      },
    ],
  });
export class SourceDto extends createZodDto(sourceSchema) {}

export class SourceTestDto extends createZodDto(
  z.strictObject({ ok: z.boolean().describe('Whether every check passed.'), checks: z.array(checkResultSchema) }).meta({
    id: 'SourceTest',
    examples: [
      {
        ok: false,
        checks: [
          {
            check: 'wal_level',
            ok: false,
            code: 'SOURCE_WAL_LEVEL',
            sql: "ALTER SYSTEM SET wal_level = 'logical';",
            message: 'wal_level is replica',
          },
        ],
      },
    ],
  }),
) {}

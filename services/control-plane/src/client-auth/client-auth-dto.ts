import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { ASYMMETRIC_ALGORITHMS } from './check-client-auth.ts';

const SECRET_CHARS_MAX = 1024;
const DAY_S = 24 * 60 * 60;

/** Identifiers are compared as they are, so they hold nothing that two systems might write differently. */
const identifierSchema = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[\x21-\x7e]+$/, 'printable ASCII without spaces');

const rulesShape = {
  issuer: identifierSchema.optional().describe('The exact `iss` of every token; left out, any issuer is accepted.'),
  audience: z
    .array(identifierSchema)
    .min(1)
    .max(10)
    .describe("A token's `aud` must name one of these; make it one that no other system accepts."),
  maxTokenAgeS: z
    .int()
    .min(60)
    .max(DAY_S)
    .default(3600)
    .describe('Longest accepted lifetime of a token (`exp - iat`), in seconds.'),
};
const asymmetricSchema = z.array(z.enum(ASYMMETRIC_ALGORITHMS)).min(1).max(ASYMMETRIC_ALGORITHMS.length);

/** A schema for each kind, so that none takes a field of another: a public key is never an HMAC secret. */
const jwksUrlSchema = z
  .strictObject({
    kind: z.literal('jwks-url'),
    url: z.string().max(2048).describe('Where the key set is fetched from; https.'),
    algorithms: asymmetricSchema,
    ...rulesShape,
  })
  .meta({ id: 'ClientAuthByJwksUrl' });
const jwksSchema = z
  .strictObject({
    kind: z.literal('jwks'),
    jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).max(100) }).describe('Public keys only.'),
    algorithms: asymmetricSchema,
    ...rulesShape,
  })
  .meta({ id: 'ClientAuthByJwks' });
const sharedSecretSchema = z
  .strictObject({
    kind: z.literal('shared-secret'),
    secret: z
      .string()
      .max(SECRET_CHARS_MAX)
      .describe('HMAC key, used as its UTF-8 bytes; at least 32. Never given out again.'),
    algorithms: z.tuple([z.literal('HS256')]).default(['HS256']),
    ...rulesShape,
  })
  .meta({ id: 'ClientAuthBySharedSecret' });

export const putClientAuthSchema = z.discriminatedUnion('kind', [jwksUrlSchema, jwksSchema, sharedSecretSchema]).meta({
  id: 'PutClientAuth',
  examples: [
    {
      kind: 'jwks-url',
      url: 'https://auth.example.com/.well-known/jwks.json',
      algorithms: ['ES256'],
      issuer: 'https://auth.example.com/',
      audience: ['sluice:departures'],
      maxTokenAgeS: 3600,
    },
  ],
});
export type PutClientAuth = z.output<typeof putClientAuthSchema>;

export const clientAuthSchema = z
  .strictObject({
    kind: z.enum(['jwks-url', 'jwks', 'shared-secret']),
    url: z.string().nullable(),
    jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())) }).nullable(),
    algorithms: z.array(z.string()),
    issuer: z.string().nullable(),
    audience: z.array(z.string()),
    maxTokenAgeS: z.int(),
    updatedAt: z.iso.datetime(),
  })
  .meta({
    id: 'ClientAuth',
    examples: [
      {
        kind: 'shared-secret',
        url: null,
        jwks: null,
        algorithms: ['HS256'],
        issuer: null,
        audience: ['sluice:departures'],
        maxTokenAgeS: 3600,
        updatedAt: '2030-01-01T00:00:00.000Z',
      },
    ],
  });
export class ClientAuthDto extends createZodDto(clientAuthSchema) {}
/** A union cannot be the base of a class. */
export const PutClientAuthDto = createZodDto(putClientAuthSchema);

import { readFile } from 'node:fs/promises';
import { isCode } from '@sluice/errors';
import { expect, test } from 'vitest';
import { describeApi } from './describe-api.ts';

interface Described {
  readonly paths: Record<
    string,
    Record<string, { operationId: string; summary: string; responses: Record<string, Response> }>
  >;
}
interface Response {
  readonly description: string;
  readonly content?: Record<string, { schema: { $ref?: string }; examples?: Record<string, unknown> }>;
}

test('openapi.json is what the routes say: run services/control-plane/scripts/openapi.mjs after a change', async () => {
  const written = await readFile(new URL('../../../../packages/api-client/openapi.json', import.meta.url), 'utf8');
  expect(written).toBe(await describeApi());
});

test('every operation has a name of its own, a summary, a schema for its answer and an example of each of its codes', async () => {
  const { paths } = JSON.parse(await describeApi()) as Described;
  const operations = Object.values(paths).flatMap((methods) => Object.values(methods));
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
  for (const { operationId, summary, responses } of operations) {
    expect([operationId, summary]).toEqual([operationId, expect.stringMatching(/^[A-Z]/)]);
    for (const [status, { description, content }] of Object.entries(responses)) {
      const [body] = Object.values(content ?? {});
      expect([operationId, status, body?.schema.$ref]).toEqual([
        operationId,
        status,
        expect.stringContaining('#/components/'),
      ]);
      if (Number(status) < 400) continue;
      expect(Object.keys(body?.examples ?? {})).toEqual(description.split(', '));
      expect(description.split(', ').filter((code) => !isCode(code))).toEqual([]);
    }
  }
});

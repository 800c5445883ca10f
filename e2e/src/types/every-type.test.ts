import type { CellValue } from '@sluice/domain';
import {
  createTypeSamplesSql,
  insertTypeSamplesSql,
  TYPE_SAMPLE_ROWS,
  TYPE_SAMPLES,
} from '@sluice/pg-values/type-samples';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BrowserDevice, type BrowserStage, openBrowser } from '../browser/browser-client.ts';
import type { Row } from '../oracle/table-state.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

/** The same rows twice: one table filled before its copy, the other written while it is streamed. */
const COPIED = 'copied';
const STREAMED = 'streamed';
const CLAIMS = { sub: 'ana' };

let stack: Stack;
let tenant: Tenant;
let browser: BrowserStage;
let device: BrowserDevice;
let client: SyncClient;

beforeAll(async () => {
  [stack, browser] = await Promise.all([startStack(), openBrowser()]);
  const [streamedSql, copiedSql] = [createTypeSamplesSql(STREAMED), createTypeSamplesSql(COPIED)];
  const tableOnly = copiedSql.filter((statement) => statement.includes(` ${COPIED} `));
  tenant = await stack.addTenant({
    ref: 'types',
    tablesSql: [...streamedSql, ...tableOnly, ...insertTypeSamplesSql(COPIED)].join(';\n'),
    streams: [COPIED, STREAMED].map((table) => ({ name: table, table, query: `SELECT * FROM ${table}` })),
  });
  client = await tenant.connect(CLAIMS);
  device = await browser.newDevice();
  await device.open({ tenant, claims: CLAIMS, gatewayPort: stack.gatewayPort });
  await tenant.caughtUp(client);
  await device.ready();
  await tenant.source.commit(...insertTypeSamplesSql(STREAMED));
  await tenant.expectEqual(client);
  await device.expectEqual(tenant, CLAIMS);
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

const readers: readonly (readonly [name: string, read: (sql: string) => Promise<Row[]>])[] = [
  ['in Node', (sql) => client.sdk.query<Row>(sql)],
  ['in Chromium', (sql) => device.query(sql)],
];

describe.each(readers)('every Postgres type, %s', (_, read) => {
  it.each(TYPE_SAMPLES.flatMap((sample) => [COPIED, STREAMED].map((table) => ({ ...sample, table }))))(
    '$pgType, $table',
    async ({ column, values, table }) => {
      const rows = await read(`select "${column}" as cell, typeof("${column}") as kind from ${table} order by id`);
      const expected: (CellValue | undefined)[] = Array.from({ length: TYPE_SAMPLE_ROWS }, () => null);
      values.forEach(({ cell }, i) => {
        expected[i] = cell;
      });
      expect(rows.map(({ cell }) => cell)).toEqual(expected);
      const isFloat = column.startsWith('a_float') && !column.endsWith('s');
      for (const { cell, kind } of rows) if (isFloat && typeof cell === 'number') expect(kind).toBe('real');
    },
  );
});

import { randomBytes } from 'node:crypto';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query, testConfig, waitFor } from '@sluice/testkit';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchChromium } from '../browser/launch-chromium.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import { buildNext, buildVite, consumerApp, copyExamples, packTarballs, type Site } from './consumer-app.ts';

const isLong = testConfig().lane === 'long';
const ROLE = `app_${randomBytes(5).toString('hex')}`;
const TABLES_SQL = `
create role ${ROLE};
create table tasks (id int primary key, owner text not null, title text not null check (title <> 'refused'));
alter table tasks replica identity full;
grant select, insert, update, delete on tasks to ${ROLE};
`;

let stack: Stack;
let tenant: Tenant;
let browser: Browser;
let packed: Awaited<ReturnType<typeof packTarballs>>;

beforeAll(async () => {
  [stack, browser, packed] = await Promise.all([startStack(), launchChromium(), packTarballs()]);
  tenant = await stack.addTenant({
    ref: 'consumers',
    tablesSql: WRITES_TABLES_SQL + TABLES_SQL,
    streams: [{ name: 'tasks', table: 'tasks', query: 'SELECT * FROM tasks WHERE owner = auth.user_id()' }],
    writes: { role: ROLE, tables: { tasks: 'merge' } },
  });
});
afterAll(async () => {
  if (tenant) await query(tenant.source.url, `drop owned by ${ROLE} cascade`);
  await browser?.close();
  await packed?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await tenant.source.commit(
    'delete from tasks',
    "insert into tasks values (1, 'ana', 'theirs'), (2, 'ben', 'hidden')",
  );
});

const gatewayUrl = (): string => `ws://127.0.0.1:${stack.gatewayPort}/sync`;

/** What every consumer shows: rows and changes that arrive, a write that goes home, one that is refused, and a reload offline. */
async function expectWorks(site: Site, check: (page: Page) => Promise<void> = async () => undefined): Promise<void> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    const token = await tenant.token({ sub: 'ana' });
    const settings = new URLSearchParams({ url: gatewayUrl(), project: tenant.ref, token, owner: 'ana' });
    await page.goto(`${site.url}/?${settings.toString()}`);
    await page.getByText('theirs', { exact: true }).waitFor();
    await tenant.source.commit("insert into tasks values (3, 'ana', 'live')");
    await page.getByText('live', { exact: true }).waitFor();
    expect(await page.getByRole('listitem').allTextContents()).toEqual(['theirs', 'live']);
    await page.getByRole('button', { name: 'add', exact: true }).click();
    await page.getByText('from the page').waitFor();
    await page.getByRole('button', { name: 'delete the first' }).click();
    await page.getByRole('button', { name: 'add a bad one' }).click();
    await page.getByText('storage opfs, 0 pending, 1 rejected WRITE_CONSTRAINT').waitFor();
    expect(await page.getByRole('listitem').allTextContents()).toEqual(['live', 'from the page']);
    const titles = "select title from tasks where owner = 'ana' order by id";
    expect(await query(tenant.source.url, titles)).toEqual([{ title: 'live' }, { title: 'from the page' }]);
    await check(page);
    expect(complaints).toEqual([]);
  } finally {
    await context.close();
  }
}

describe('apps outside of the repository, of the packed packages', () => {
  it('Vite, built for production: rows arrive, and a write reaches Postgres', async () => {
    await using app = await consumerApp('vite', packed.tarballs, isLong ? 'npm' : 'link');
    if (isLong) await app.run('tsc');
    await using site = await buildVite(app);
    await expectWorks(site);
  });
});

// A test that does not belong to the lane is not there, rather than skipped.
if (isLong)
  describe('apps that npm installs', () => {
    it('Next.js, built for production: the same, and pages that are rendered ahead', async () => {
      await using app = await consumerApp('next', packed.tarballs, 'npm');
      await using site = await buildNext(app);
      const ahead = await (await fetch(site.url)).text();
      expect(ahead).toContain('Tasks');
      expect(ahead).toContain('loading');
      expect(ahead).toContain('counting');
      await expectWorks(site, async (page) => page.getByText('2 tasks').waitFor());
    }, 300_000);

    it('Node: rows arrive, and every example of every README compiles', async () => {
      await using app = await consumerApp('node', packed.tarballs, 'npm');
      expect(await copyExamples(app, [...packed.tarballs.keys()])).toBeGreaterThanOrEqual(packed.tarballs.size);
      await app.run('tsc');
      const token = await tenant.token({ sub: 'ana' });
      const printed = await waitFor(() => app.run('node', 'main.mjs', gatewayUrl(), tenant.ref, token), {
        what: 'the rows',
        timeoutMs: 30_000,
      });
      expect(JSON.parse(printed)).toEqual([{ title: 'theirs' }]);
    });
  });

import { randomBytes } from 'node:crypto';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import { query } from '@sluice/testkit';
import type { Browser, Page } from 'playwright';
import { expect } from 'vitest';
import { launchChromium } from '../browser/launch-chromium.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';
import { packTarballs, type Site } from './consumer-app.ts';

const ROLE = `app_${randomBytes(5).toString('hex')}`;
const TABLES_SQL = `
create role ${ROLE};
create table tasks (id int primary key, owner text not null, title text not null check (title <> 'refused'));
alter table tasks replica identity full;
grant select, insert, update, delete on tasks to ${ROLE};
`;

/** A running stack with one project, the packed packages, and a browser for the apps built of them. */
export class ConsumerStage implements AsyncDisposable {
  readonly tenant: Tenant;
  /** Of each package by its name: where its tarball is. */
  readonly tarballs: ReadonlyMap<string, string>;
  readonly #stack: Stack;
  readonly #browser: Browser;
  readonly #packed: AsyncDisposable;

  private constructor(
    stack: Stack,
    browser: Browser,
    packed: Awaited<ReturnType<typeof packTarballs>>,
    tenant: Tenant,
  ) {
    this.#stack = stack;
    this.#browser = browser;
    this.#packed = packed;
    this.tenant = tenant;
    this.tarballs = packed.tarballs;
  }
  static async open(): Promise<ConsumerStage> {
    const [stack, browser, packed] = await Promise.all([startStack(), launchChromium(), packTarballs()]);
    const tenant = await stack.addTenant({
      ref: 'consumers',
      tablesSql: WRITES_TABLES_SQL + TABLES_SQL,
      streams: [{ name: 'tasks', table: 'tasks', query: 'SELECT * FROM tasks WHERE owner = auth.user_id()' }],
      writes: { role: ROLE, tables: { tasks: 'merge' } },
    });
    return new ConsumerStage(stack, browser, packed, tenant);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await query(this.tenant.source.url, `drop owned by ${ROLE} cascade`);
    await this.#browser.close();
    await this.#packed[Symbol.asyncDispose]();
    await this.#stack[Symbol.asyncDispose]();
  }

  get gatewayUrl(): string {
    return `ws://127.0.0.1:${this.#stack.gatewayPort}/sync`;
  }
  /** The rows that each app begins with; only the first is ana's. */
  async reset(): Promise<void> {
    await this.tenant.source.commit(
      'delete from tasks',
      "insert into tasks values (1, 'ana', 'theirs'), (2, 'ben', 'hidden')",
    );
  }

  /** What every consumer shows: rows and changes that arrive, a write that goes home, one that is refused, and a reload offline. */
  async expectWorks(site: Site, check: (page: Page) => Promise<void> = async () => undefined): Promise<void> {
    const context = await this.#browser.newContext();
    try {
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
      const token = await this.tenant.token({ sub: 'ana' });
      const settings = new URLSearchParams({ url: this.gatewayUrl, project: this.tenant.ref, token, owner: 'ana' });
      await page.goto(`${site.url}/?${settings.toString()}`);
      await page.getByText('theirs', { exact: true }).waitFor();
      await this.tenant.source.commit("insert into tasks values (3, 'ana', 'live')");
      await page.getByText('live', { exact: true }).waitFor();
      expect(await page.getByRole('listitem').allTextContents()).toEqual(['theirs', 'live']);
      await page.getByRole('button', { name: 'add', exact: true }).click();
      await page.getByText('from the page').waitFor();
      await page.getByRole('button', { name: 'delete the first' }).click();
      await page.getByRole('button', { name: 'add a bad one' }).click();
      await page.getByText('storage opfs, 0 pending, 1 rejected WRITE_CONSTRAINT').waitFor();
      expect(await page.getByRole('listitem').allTextContents()).toEqual(['live', 'from the page']);
      const titles = "select title from tasks where owner = 'ana' order by id";
      expect(await query(this.tenant.source.url, titles)).toEqual([{ title: 'live' }, { title: 'from the page' }]);
      await check(page);
      expect(complaints).toEqual([]);
    } finally {
      await context.close();
    }
  }
}

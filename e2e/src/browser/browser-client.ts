import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright';
import { build } from 'vite';
import type { DatabaseState, Row, TableState } from '../oracle/table-state.ts';
import { differences } from '../oracle/table-state.ts';
import { clientTables } from '../stack/rules.ts';
import type { Claims } from '../stack/source-database.ts';
import type { Tenant } from '../stack/tenant.ts';
import { launchChromium } from './launch-chromium.ts';
import { type CellText, cellFromText } from './page/cell-text.ts';
import type { PageApi, Writing } from './page/main.ts';
import { serveFolder } from './serve-folder.ts';

/** A real Chromium, and the test page built from the SDK as a tenant's app would be. */
export interface BrowserStage extends AsyncDisposable {
  /** A browser profile of its own, with OPFS of its own. */
  newDevice(): Promise<BrowserDevice>;
}

export async function openBrowser(): Promise<BrowserStage> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-page-'));
  await build({
    root: path.join(import.meta.dirname, 'page'),
    logLevel: 'warn',
    worker: { format: 'es' },
    build: { outDir: folder, emptyOutDir: true, target: 'es2022' },
  });
  const site = await serveFolder(folder);
  const browser = await launchChromium();
  return {
    newDevice: () => newDevice(browser, site.url),
    async [Symbol.asyncDispose]() {
      await browser.close();
      await site[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function newDevice(browser: Browser, siteUrl: string): Promise<BrowserDevice> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const device = new BrowserDevice(context, page, siteUrl);
  await device.load();
  return device;
}

export interface OpenOptions {
  readonly tenant: Tenant;
  readonly claims: Claims;
  readonly gatewayPort: number;
  readonly connect?: boolean;
}

/** One page of one browser profile, told what to do through the test page's API. */
export class BrowserDevice implements AsyncDisposable {
  readonly #context: BrowserContext;
  readonly #page: Page;
  readonly #siteUrl: string;
  /** What the page wrote to its console as errors, and exceptions that nobody caught. */
  readonly complaints: string[] = [];

  constructor(context: BrowserContext, page: Page, siteUrl: string) {
    this.#context = context;
    this.#page = page;
    this.#siteUrl = siteUrl;
    page.on('pageerror', (error) => this.complaints.push(String(error)));
  }

  /** Loads the page, again if it was loaded; what OPFS holds stays. */
  async load(): Promise<void> {
    await this.#page.goto(this.#siteUrl);
    await this.#page.waitForFunction(() => 'page' in globalThis);
  }

  async open({ tenant, claims, gatewayPort, connect = true }: OpenOptions): Promise<void> {
    const token = await tenant.token(claims);
    const url = `ws://127.0.0.1:${gatewayPort}/sync`;
    await this.#call('open', { url, project: tenant.ref, name: claims.sub, token, connect });
  }

  /** Another tab of the same profile, whose `acknowledged` hears of writes. */
  async openTab(acknowledged: (tag: string) => void = () => undefined): Promise<BrowserDevice> {
    const page = await this.#context.newPage();
    await page.exposeFunction('acknowledged', acknowledged);
    const tab = new BrowserDevice(this.#context, page, this.#siteUrl);
    await tab.load();
    return tab;
  }
  /** Ends the tab's process where it stands, as the browser's own crash page does; resolves when it is gone. */
  async crash(): Promise<void> {
    const session = await this.#context.newCDPSession(this.#page);
    const gone = new Promise((resolve) => this.#page.once('crash', resolve));
    // There is nobody left to answer.
    session.send('Page.crash').catch(() => undefined);
    await gone;
  }
  /** As a person closes a tab. */
  closeTab(): Promise<void> {
    return this.#page.close();
  }
  startWriting(tab: string): Promise<void> {
    return this.#call('startWriting', tab);
  }
  writesOn(count: number): Promise<void> {
    return this.#call('writesOn', count);
  }
  writesDone(): Promise<number> {
    return this.#call('writesDone');
  }
  /** From now on what this tab's worker tells other tabs is lost, as if it died before it could tell them. */
  async mute(): Promise<void> {
    const [worker] = this.#page.workers();
    if (!worker) throw new Error('the tab has no worker');
    await worker.evaluate(() => {
      BroadcastChannel.prototype.postMessage = () => undefined;
    });
  }
  stopWriting(): Promise<Writing> {
    return this.#call('stopWriting');
  }
  timesOf(sql: string, calls: number): Promise<readonly number[]> {
    return this.#call('timesOf', sql, calls);
  }
  /** The database as a file. */
  async export(): Promise<Uint8Array> {
    return Buffer.from(await this.#call('export'), 'base64');
  }
  /** Tells the page what the browser tells one that it is about to stop, or that it woke. */
  lifecycle(event: 'freeze' | 'resume'): Promise<void> {
    return this.#page.evaluate(`document.dispatchEvent(new Event('${event}'))`);
  }

  reaches(tick: number): Promise<void> {
    return this.#call('reaches', tick);
  }
  ready(): Promise<void> {
    return this.#call('ready');
  }
  status(): Promise<ReturnType<PageApi['status']>> {
    return this.#call('status');
  }

  write(...operations: Parameters<PageApi['write']>[0]): Promise<void> {
    return this.#call('write', operations);
  }
  settled(): Promise<void> {
    return this.#call('settled');
  }
  rejected(): ReturnType<PageApi['rejected']> {
    return this.#call('rejected');
  }

  async query(sql: string): Promise<Row[]> {
    const rows: Record<string, CellText>[] = await this.#call('query', sql);
    return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, cellFromText(cell)])));
  }

  /** Compares every table with the rules' own SQL run for the user on the source, and the checksums with the server's. */
  async expectEqual(tenant: Tenant, claims: Claims): Promise<void> {
    await this.reaches(await tenant.source.commit());
    const [expected] = await tenant.oracle.statesOf([claims], tenant.streams);
    const found = differences(expected ?? new Map(), await this.#state(clientTables(tenant.streams)));
    if (found.length > 0) throw new Error(`the page of ${claims.sub} differs from SQL\n${found.join('\n')}`);
    const { ok, problems } = await this.#call('verify');
    if (!ok) throw new Error(`the page of ${claims.sub} does not verify\n${problems.join('\n')}`);
  }

  async #state(tables: readonly string[]): Promise<DatabaseState> {
    const state = new Map<string, TableState>();
    for (const table of tables) {
      const [columns] = await this.query(`select t.* from (select 1) left join "${table}" t on false`);
      state.set(table, { columns: Object.keys(columns ?? {}), rows: await this.query(`select * from "${table}"`) });
    }
    return state;
  }

  #call<Name extends keyof PageApi>(
    name: Name,
    ...args: Parameters<PageApi[Name]>
  ): Promise<Awaited<ReturnType<PageApi[Name]>>> {
    // The page's API is called by name, since a function that is sent to the page cannot close over anything here.
    return this.#page.evaluate(
      ([method, values]) =>
        (globalThis as unknown as { page: Record<string, (...args: unknown[]) => never> }).page[method]?.(...values),
      [name as string, args as unknown[]] as const,
    ) as Promise<Awaited<ReturnType<PageApi[Name]>>>;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#context.close();
  }
}

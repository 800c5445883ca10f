import { waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildNext, consumerApp, copyExamples } from './consumer-app.ts';
import { ConsumerStage } from './consumer-stage.ts';

let stage: ConsumerStage;
beforeAll(async () => {
  stage = await ConsumerStage.open();
});
afterAll(() => stage?.[Symbol.asyncDispose]());
beforeEach(() => stage.reset());

describe('apps that npm installs', () => {
  it('Next.js, built for production: the same, and pages that are rendered ahead', async () => {
    await using app = await consumerApp('next', stage.tarballs, 'npm');
    await using site = await buildNext(app);
    const ahead = await (await fetch(site.url)).text();
    expect(ahead).toContain('Tasks');
    expect(ahead).toContain('loading');
    expect(ahead).toContain('counting');
    await stage.expectWorks(site, async (page) => page.getByText('2 tasks').waitFor());
  }, 300_000);

  it('Node: rows arrive, and every example of every README compiles', async () => {
    await using app = await consumerApp('node', stage.tarballs, 'npm');
    expect(await copyExamples(app, [...stage.tarballs.keys()])).toBeGreaterThanOrEqual(stage.tarballs.size);
    await app.run('tsc');
    const { tenant } = stage;
    const token = await tenant.token({ sub: 'ana' });
    const printed = await waitFor(() => app.run('node', 'main.mjs', stage.gatewayUrl, tenant.ref, token), {
      what: 'the rows',
      timeoutMs: 30_000,
    });
    expect(JSON.parse(printed)).toEqual([{ title: 'theirs' }]);
  });
});

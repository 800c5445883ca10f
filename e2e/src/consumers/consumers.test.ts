import { testConfig } from '@sluice/testkit';
import { afterAll, beforeAll, beforeEach, describe, it } from 'vitest';
import { buildVite, consumerApp } from './consumer-app.ts';
import { ConsumerStage } from './consumer-stage.ts';

const isLong = testConfig().lane === 'long';

let stage: ConsumerStage;
beforeAll(async () => {
  stage = await ConsumerStage.open();
});
afterAll(() => stage?.[Symbol.asyncDispose]());
beforeEach(() => stage.reset());

describe('apps outside of the repository, of the packed packages', () => {
  it('Vite, built for production: rows arrive, and a write reaches Postgres', async () => {
    await using app = await consumerApp('vite', stage.tarballs, isLong ? 'npm' : 'link');
    if (isLong) await app.run('tsc');
    await using site = await buildVite(app);
    await stage.expectWorks(site);
  });
});

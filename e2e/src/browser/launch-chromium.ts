import { testConfig } from '@sluice/testkit';
import { type Browser, chromium } from 'playwright';

/** The Chromium that setup-tools found. */
export function launchChromium(): Promise<Browser> {
  const { chromium: found } = testConfig();
  if (!found) throw new Error('there is no Chromium: run `npm run setup-tools`');
  return chromium.launch({ executablePath: found.path, args: [...found.args], headless: true });
}

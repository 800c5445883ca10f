/**
 * Writes the reference pages that come from code: `docs/errors.md` from the catalogue of codes and `docs/config.md` from
 * each service's settings. `--check` writes nothing and fails when a page is not what it would write.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { configTable } from '@sluice/config';
import { codesByRoom } from '@sluice/errors';
import { fail, root, StepFailed } from './repository.mjs';

const notice = (source) => `<!-- Generated from ${source} by scripts/generate-docs.mjs; edit there. -->`;

try {
  const pages = { 'docs/errors.md': errorsPage(), 'docs/config.md': await configPage() };
  const stale = Object.entries(pages).filter(([file, text]) => textOf(file) !== text);
  if (process.argv.includes('--check')) {
    if (stale.length > 0) {
      throw new StepFailed(
        `${stale.map(([file]) => file).join(' and ')} differ from the code: run \`npm run build && node scripts/generate-docs.mjs\``,
      );
    }
  } else {
    for (const [file, text] of stale) write(file, text);
    console.log(stale.length > 0 ? `wrote ${stale.map(([file]) => file).join(', ')}` : 'up to date');
  }
} catch (error) {
  fail(error);
}

function errorsPage() {
  const who = {
    tenant: "the tenant's team",
    app: "the end user's app",
    operator: 'an operator',
    nobody: 'nobody: it heals',
  };
  const retry = { retry: 'backs off and tries again', wait: 'waits for a person', 'give-up': 'gives up' };
  const rooms = Object.entries(codesByRoom).map(([room, codes]) => {
    const entries = Object.entries(codes).map(([code, definition]) => {
      const numbers = [
        definition.status === undefined ? '' : `, HTTP ${definition.status}`,
        definition.close === undefined ? '' : `, close ${definition.close}`,
      ].join('');
      return `### ${code}\n\n${definition.what}\n\n- **Who:** ${who[definition.who]}\n- **How:** ${definition.how}\n- **Then:** ${retry[definition.retry]}${numbers}\n`;
    });
    return `## ${room}\n\n${entries.join('\n')}`;
  });
  const intro =
    'Every error has a stable code. It says what happened, who can put it right and how, and what the platform does meanwhile. Places in braces are filled from the error.';
  return `${notice('packages/errors/src/codes')}\n\n# Error codes\n\n${intro}\n\n${rooms.join('\n')}`;
}

async function configPage() {
  const sections = [];
  for (const name of readdirSync(path.join(root, 'services')).sort()) {
    const file = path.join(root, 'services', name, 'dist', 'config.js');
    if (!existsSync(file)) continue;
    const { configDefinition } = await import(pathToFileURL(file).href);
    if (configDefinition) sections.push(`## ${name}\n\n${configTable(configDefinition)}\n`);
  }
  const intro =
    'Each service reads its settings from environment variables when it starts, and reports every problem at once. A variable that is empty counts as not set.';
  return `${notice("each service's src/config.ts")}\n\n# Configuration\n\n${intro}\n\n${sections.join('\n')}`;
}

/** @param {string} file */
function textOf(file) {
  const full = path.join(root, file);
  return existsSync(full) ? readFileSync(full, 'utf8') : undefined;
}

/** @param {string} file @param {string} text */
function write(file, text) {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}

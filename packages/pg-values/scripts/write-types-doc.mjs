// Writes the generated part of docs/types.md; a test fails while the page differs from the code. Needs a build.
import { readFileSync, writeFileSync } from 'node:fs';
import { formatTypesTable } from '../dist/types-table.js';

const page = new URL('../../../docs/types.md', import.meta.url);
const begin = '<!-- types:begin -->\n';
const end = '\n<!-- types:end -->';
const [before] = readFileSync(page, 'utf8').split(begin);
const [, after] = readFileSync(page, 'utf8').split(end);
writeFileSync(page, before + begin + formatTypesTable() + end + after);

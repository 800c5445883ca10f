// Writes packages/api-client/openapi.json from the routes; run it after the service was built.
import { writeFile } from 'node:fs/promises';
import 'reflect-metadata';
import { describeApi } from '../dist/openapi/describe-api.js';

await writeFile(new URL('../../../packages/api-client/openapi.json', import.meta.url), await describeApi());

import { readFile } from 'node:fs/promises';
import { parseProjectId } from '@sluice/domain';
import type { JSONWebKeySet } from 'jose';
import type { ClientAuth, ProjectDirectory, ServedProject } from './client-auth.ts';

/**
 * The projects of a gateway that runs without a control plane beside it: a JSON list of
 * `{ref, project, algorithms, maxTokenAgeSeconds, keys, issuer?, audience?}`, where `keys` is `{"hs256": "<base64url>"}`,
 * `{"jwksUrl": "https://…"}` or `{"jwks": {…}}`. Read again at each look-up, so that a changed file counts at once.
 * @throws Error that names the entry and the field, and no value
 */
export function projectsFileDirectory(path: string): ProjectDirectory {
  return {
    async projectByRef(ref) {
      return parseProjectsFile(await readFile(path, 'utf8')).get(ref);
    },
  };
}

export function parseProjectsFile(text: string): ReadonlyMap<string, ServedProject> {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error('projects file: not a list');
  return new Map(list.map((entry: unknown, i) => readEntry(new Fields(entry, `projects file, entry ${i + 1}`))));
}

function readEntry(fields: Fields): [string, ServedProject] {
  const auth: ClientAuth = {
    algorithms: fields.texts('algorithms'),
    maxTokenAgeSeconds: fields.wholeNumber('maxTokenAgeSeconds'),
    issuer: fields.optionalText('issuer'),
    audience: fields.optionalText('audience'),
    keys: readKeys(fields.fields('keys')),
  };
  return [fields.text('ref'), { project: parseProjectId(fields.wholeNumber('project')), auth }];
}

function readKeys(fields: Fields): ClientAuth['keys'] {
  if (fields.has('hs256')) return { kind: 'hs256', secret: Buffer.from(fields.text('hs256'), 'base64url') };
  if (fields.has('jwksUrl')) return { kind: 'jwks', url: fields.text('jwksUrl') };
  // Its keys are checked one by one when the first token comes.
  return { kind: 'inline-jwks', jwks: fields.fields('jwks').value as unknown as JSONWebKeySet };
}

class Fields {
  readonly value: Readonly<Record<string, unknown>>;
  private readonly place: string;

  constructor(value: unknown, place: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${place}: not an object`);
    this.value = value as Readonly<Record<string, unknown>>;
    this.place = place;
  }
  has(name: string): boolean {
    return this.value[name] !== undefined;
  }
  text(name: string): string {
    const value = this.value[name];
    if (typeof value !== 'string' || value === '') throw this.wrong(name, 'a text');
    return value;
  }
  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }
  texts(name: string): string[] {
    const value = this.value[name];
    if (!Array.isArray(value) || !value.every((item): item is string => typeof item === 'string'))
      throw this.wrong(name, 'a list of texts');
    return value;
  }
  wholeNumber(name: string): number {
    const value = this.value[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
      throw this.wrong(name, 'a positive whole number');
    return value;
  }
  fields(name: string): Fields {
    return new Fields(this.value[name], `${this.place}, ${name}`);
  }
  private wrong(name: string, what: string): Error {
    return new Error(`${this.place}: ${name} is not ${what}`);
  }
}

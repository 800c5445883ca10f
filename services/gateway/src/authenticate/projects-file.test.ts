import { describe, expect, it } from 'vitest';
import { parseProjectsFile } from './projects-file.ts';

const entry = { ref: 'demo', project: 1, algorithms: ['HS256'], maxTokenAgeSeconds: 60, keys: { hs256: 'c2VjcmV0' } };

describe('the projects file', () => {
  it('gives each project by its reference', () => {
    const projects = parseProjectsFile(
      JSON.stringify([
        entry,
        { ...entry, ref: 'other', project: 2, issuer: 'i', audience: 'a', keys: { jwksUrl: 'https://keys.example' } },
        { ...entry, ref: 'third', project: 3, keys: { jwks: { keys: [] } } },
      ]),
    );
    expect(projects.get('demo')?.auth.keys).toEqual({ kind: 'hs256', secret: Buffer.from('secret') });
    expect(projects.get('other')).toMatchObject({ project: 2, auth: { issuer: 'i', keys: { kind: 'jwks' } } });
    expect(projects.get('third')?.auth.keys).toEqual({ kind: 'inline-jwks', jwks: { keys: [] } });
  });

  it.each([
    [{ ...entry, ref: '' }, 'ref is not a text'],
    [{ ...entry, project: 0 }, 'project is not a positive whole number'],
    [{ ...entry, algorithms: [1] }, 'algorithms is not a list of texts'],
    [{ ...entry, keys: 'secret' }, 'keys: not an object'],
    [{ ...entry, keys: {} }, 'jwks: not an object'],
  ])('names the entry and the field that is wrong, and no value', (wrong, message) => {
    expect(() => parseProjectsFile(JSON.stringify([entry, wrong]))).toThrow(`entry 2`);
    expect(() => parseProjectsFile(JSON.stringify([entry, wrong]))).toThrow(message);
  });
});

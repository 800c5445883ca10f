import { parseProjectId } from '@sluice/domain';
import { manualClock } from '@sluice/testkit';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { KeySets, keySetFrom } from './key-sets.ts';

const url = 'https://keys.example/jwks';
const project = parseProjectId(1);
let key: JWK;
beforeAll(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true });
  key = await exportJWK(pair.publicKey);
});

function server() {
  const clock = manualClock();
  const state = { fetches: 0, keyIds: ['a'], isDown: false };
  const keySets = new KeySets({
    clock,
    cooldownMs: 30_000,
    refreshMs: 120_000,
    staleMaxMs: 300_000,
    fetchJson: async () => {
      state.fetches++;
      if (state.isDown) throw new Error('down');
      return { keys: state.keyIds.map((kid) => ({ ...key, kid })) };
    },
  });
  return { clock, state, keySets };
}

describe('a project’s key set', () => {
  it('is fetched once, however many ask at the same time', async () => {
    const { keySets, state } = server();
    await Promise.all(Array.from({ length: 50 }, () => keySets.keysFor(project, url, 'a')));
    expect(state.fetches).toBe(1);
  });

  it('unknown keys cannot make us fetch more than once in 30 s', async () => {
    const { clock, keySets, state } = server();
    for (let i = 0; i < 200; i++) await keySets.keysFor(project, url, `unknown-${i}`);
    expect(state.fetches).toBe(1);
    await clock.advance(30_000);
    await keySets.keysFor(project, url, 'unknown');
    expect(state.fetches).toBe(2);
  });

  it('a rotated key is found as soon as its name is seen', async () => {
    const { clock, keySets, state } = server();
    await keySets.keysFor(project, url, 'a');
    await clock.advance(31_000);
    state.keyIds = ['a', 'b'];
    await keySets.keysFor(project, url, 'b');
    expect(state.fetches).toBe(2);
  });

  it('P14: a removed key is gone within 5 minutes, also when the server went down', async () => {
    const { clock, keySets, state } = server();
    await keySets.keysFor(project, url, 'a');
    state.isDown = true;
    await clock.advance(299_000);
    await keySets.keysFor(project, url, 'a');
    await clock.advance(31_000);
    await expect(keySets.keysFor(project, url, 'a')).rejects.toMatchObject({ code: 'AUTH_KEYS_UNAVAILABLE' });
    state.isDown = false;
    await clock.advance(31_000);
    await keySets.keysFor(project, url, 'a');
  });

  it('another URL is another set at once', async () => {
    const { keySets, state } = server();
    await keySets.keysFor(project, url, 'a');
    await keySets.keysFor(project, `${url}2`, 'a');
    expect(state.fetches).toBe(2);
  });

  it('what is no key set is refused; symmetric, private and nameless keys are left out', () => {
    for (const junk of [null, 1, 'x', [], {}, { keys: 1 }, { keys: Array.from({ length: 101 }, () => key) }])
      expect(() => keySetFrom(junk)).toThrow(expect.objectContaining({ code: 'AUTH_SETTINGS' }));
    const keys = [
      { kty: 'oct', k: 'AAAA', kid: 'o' },
      { ...key, kid: 'p', d: 'x' },
      key,
      null,
      7,
      { ...key, kid: 'ok' },
    ];
    expect([...keySetFrom({ keys }).keyIds]).toEqual(['ok']);
  });
});

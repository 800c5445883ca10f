import { describe, expect, test } from 'vitest';
import { column, table } from './catalog.fixture.ts';
import { canTellOldRows, keepsRowStates, rowIdentityOf } from './row-identity.ts';

const columns = [column('id', 'integer'), column('code', 'text')];
const of = (change: Parameters<typeof table>[2]) => rowIdentityOf(table('t', columns, change));

describe('what updates and deletes of a table tell of the old row', () => {
  test('L7: all of it under FULL; its key where the identity holds the row key', () => {
    expect(of({ replicaIdentity: 'full' })).toBe('full');
    expect(of({ replicaIdentity: 'default' })).toBe('key');
    expect(of({ replicaIdentity: 'index', identityKey: ['code', 'id'] })).toBe('key');
    expect(of({ replicaIdentity: 'index', primaryKey: ['code'], identityKey: ['code'] })).toBe('key');
  });

  test('L6: too little where the identity does not hold the row key', () => {
    expect(of({ replicaIdentity: 'nothing' })).toBe('none');
    expect(of({ replicaIdentity: 'default', primaryKey: [], identityKey: [] })).toBe('none');
    expect(of({ replicaIdentity: 'default', identityKey: [] })).toBe('none');
    expect(of({ replicaIdentity: 'index', identityKey: ['code'] })).toBe('none');
    expect(of({ kind: 'p', replicaIdentity: 'default' })).toBe('none');
    expect(of({ kind: 'p', replicaIdentity: 'full' })).toBe('full');
  });

  test('L7: a stream without states needs FULL; one with them the row key', () => {
    const relation = (replicaIdentity: string, ...keys: readonly string[]) => ({
      replicaIdentity,
      columns: columns.map(({ name }) => ({ name, key: keys.includes(name) })),
    });
    const key = [{ name: 'id' }];
    const can = (keepsStates: boolean, described: ReturnType<typeof relation>) =>
      canTellOldRows(keepsStates, key, described);
    expect([can(false, relation('f', 'id', 'code')), can(true, relation('f', 'id', 'code'))]).toEqual([true, true]);
    expect([can(false, relation('d', 'id')), can(true, relation('d', 'id'))]).toEqual([false, true]);
    expect([can(true, relation('i', 'code')), can(true, relation('i', 'code', 'id'))]).toEqual([false, true]);
    expect(can(true, relation('n'))).toBe(false);
  });

  test('a plan without states says nothing of them', () => {
    const plan = { rowStates: ['public.t'] } as unknown as Parameters<typeof keepsRowStates>[0];
    expect(keepsRowStates(plan, { schema: 'public', name: 't' })).toBe(true);
    expect(keepsRowStates(plan, { schema: 'other', name: 't' })).toBe(false);
    expect(keepsRowStates({ ...plan, rowStates: [] }, { schema: 'public', name: 't' })).toBe(false);
  });
});

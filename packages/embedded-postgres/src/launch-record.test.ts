import { describe, expect, it } from 'vitest';
import { isSameSettings, parseLaunchRecord } from './launch-record.ts';

describe('parseLaunchRecord', () => {
  it('gives back what was written', () => {
    const record = { ownerPid: 12, settings: { wal_level: 'logical' } };
    expect(parseLaunchRecord(JSON.stringify(record))).toEqual(record);
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"ownerPid":1}',
    '{"ownerPid":"1","settings":{}}',
    '{"ownerPid":1,"settings":null}',
  ])('trusts nothing but a whole record: %s', (text) => {
    expect(parseLaunchRecord(text)).toBeUndefined();
  });
});

describe('isSameSettings', () => {
  it('compares by content, not by order', () => {
    expect(isSameSettings({ a: '1', b: '2' }, { b: '2', a: '1' })).toBe(true);
    expect(isSameSettings({ a: '1' }, { a: '2' })).toBe(false);
    expect(isSameSettings({ a: '1' }, { a: '1', b: '2' })).toBe(false);
  });
});

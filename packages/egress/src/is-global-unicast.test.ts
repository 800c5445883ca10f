import { describe, expect, it } from 'vitest';
import { isGlobalUnicast } from './is-global-unicast.ts';

describe('isGlobalUnicast', () => {
  it.each(['1.1.1.1', '93.184.216.34', '2606:4700::1111'])('lets %s through', (address) => {
    expect(isGlobalUnicast(address)).toBe(true);
  });

  it.each([
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    'fd00::1',
    'ff02::1',
    '::ffff:1.1.1.1',
    '64:ff9b::7f00:1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
  ])('refuses %s', (address) => {
    expect(isGlobalUnicast(address)).toBe(false);
  });
});

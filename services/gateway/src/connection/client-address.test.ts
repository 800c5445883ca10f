import { describe, expect, it } from 'vitest';
import { clientAddress } from './client-address.ts';

describe('the address that limits go by', () => {
  it('without proxies of our own, what a header says counts for nothing', () => {
    expect(clientAddress('203.0.113.7', '198.51.100.1', 0)).toBe('203.0.113.7');
  });
  it('behind our proxies it is the one that the outermost of them saw, whatever the client wrote before', () => {
    expect(clientAddress('10.0.0.1', '1.2.3.4, 203.0.113.7', 1)).toBe('203.0.113.7');
    expect(clientAddress('10.0.0.1', '1.2.3.4, 203.0.113.7, 10.0.0.2', 2)).toBe('203.0.113.7');
  });
  it('a header that is short, missing or no address leaves the socket’s own', () => {
    for (const header of [undefined, '', 'unknown', '203.0.113.7:80, x'])
      expect(clientAddress('10.0.0.1', header, 1)).toBe('10.0.0.1');
    expect(clientAddress('10.0.0.1', '203.0.113.7', 2)).toBe('10.0.0.1');
  });
  it('IPv6 addresses of one /64 are one, and IPv4 in IPv6 is IPv4', () => {
    expect(clientAddress('2001:db8:1:2:3:4:5:6', undefined, 0)).toBe('2001:db8:1:2');
    expect(clientAddress('2001:db8:1:2::9', undefined, 0)).toBe('2001:db8:1:2');
    expect(clientAddress('2001:db8::1', undefined, 0)).toBe('2001:db8:0:0');
    expect(clientAddress('::1', undefined, 0)).toBe('0:0:0:0');
    expect(clientAddress('::ffff:203.0.113.7', undefined, 0)).toBe('203.0.113.7');
  });
});

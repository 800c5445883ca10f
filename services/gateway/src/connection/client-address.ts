import { isIP, SocketAddress } from 'node:net';

/** The subnet that one user can be expected to have of IPv6: whoever has one address there has 2^64. */
const IPV6_GROUPS = 4;

/**
 * Who is at the other end, for limits per address. Behind `trustedProxies` proxies of our own, each of which appends the
 * address that it was called from to `X-Forwarded-For`, the client's is that many from the right; what stands further left is
 * the client's own invention.
 *
 * @param remote the address of the socket
 * @param forwardedFor the header, joined when it came several times
 */
export function clientAddress(
  remote: string | undefined,
  forwardedFor: string | undefined,
  trustedProxies: number,
): string {
  const own = remote ?? '';
  if (trustedProxies === 0) return grouped(own);
  const named = (forwardedFor ?? '').split(',').map((part) => part.trim());
  const found = named.at(-trustedProxies) ?? '';
  // A proxy that does not append is a mistake of ours; everybody then shares its address, which is safe.
  return grouped(isIP(found) === 0 ? own : found);
}

function grouped(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIP(address) !== 6) return address;
  const { address: canonical } = new SocketAddress({ address, family: 'ipv6' });
  const [head = '', tail = ''] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const zeros = canonical.includes('::') ? 8 - left.length - right.length : 0;
  return [...left, ...Array.from({ length: zeros }, () => '0'), ...right].slice(0, IPV6_GROUPS).join(':');
}

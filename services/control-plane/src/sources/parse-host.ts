import { isIPv4, isIPv6 } from 'node:net';
import { isGlobalUnicast } from '@sluice/egress';
import { AppError } from '@sluice/errors';

/**
 * `hosted`: only public addresses, over verified TLS, because tenants choose whom we connect to. `local`: anything that
 * is well-formed, for a developer's machine. What a name resolves to is checked again by whoever connects.
 */
export type HostPolicy = 'hosted' | 'local';

/** Ports of servers that a tenant has no reason to name, though they lie above the system ports. */
const FOREIGN_PORTS = new Set([1433, 2375, 2379, 3306, 6379, 6443, 9200, 10250, 11211, 27017]);

/**
 * One host: a name in letters, digits and hyphens, a dotted IPv4 address or an IPv6 address in brackets. Other
 * spellings of addresses (one number, hexadecimal, a trailing dot, full-width digits) are refused, since resolvers
 * disagree about them.
 * @returns the host in lower case, without brackets
 * @throws AppError CONN_HOST_FORBIDDEN
 */
export function parseHost(text: string, policy: HostPolicy): string {
  const host = text.toLowerCase();
  if (host.startsWith('[')) return allowedAddress(host.slice(1, -1), policy, isIPv6);
  if (isIPv4(host)) return allowedAddress(host, policy, isIPv4);
  const labels = host.split('.');
  const isName = host.length <= 253 && labels.every((label) => /^(?!-)[a-z0-9-]{1,63}(?<!-)$/.test(label));
  // A last label that begins with a digit is a number in disguise: 2130706433, 127.1, 0x7f.1.
  const looksNumeric = /^[0-9]/.test(labels.at(-1) ?? '');
  if (!isName || looksNumeric) throw forbidden();
  if (policy === 'hosted' && !isPublicName(labels)) throw forbidden();
  return host;
}

/** @throws AppError CONN_HOST_FORBIDDEN */
export function parsePort(text: string, policy: HostPolicy): number {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) throw forbidden();
  if (policy === 'hosted' && (port < 1024 || FOREIGN_PORTS.has(port))) throw forbidden();
  return port;
}

function allowedAddress(address: string, policy: HostPolicy, isAddress: (text: string) => boolean): string {
  if (!isAddress(address) || address.includes('%')) throw forbidden();
  if (policy === 'hosted' && !isGlobalUnicast(address)) throw forbidden();
  return address;
}

/** Names without a dot and the reserved domains resolve inside our own network, if anywhere. */
function isPublicName(labels: readonly string[]): boolean {
  const inside = ['localhost', 'local', 'internal', 'intranet', 'lan', 'home', 'corp', 'svc', 'cluster', 'arpa'];
  return labels.length > 1 && !inside.includes(labels.at(-1) ?? '');
}

function forbidden(): AppError {
  return new AppError('CONN_HOST_FORBIDDEN');
}

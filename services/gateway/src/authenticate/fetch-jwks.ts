import { lookup as resolveName } from 'node:dns';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { isGlobalUnicast } from '@sluice/egress';

export interface FetchLimits {
  readonly timeoutMs: number;
  readonly bytesMax: number;
  /** Also plain http and addresses that are not public: for development and tests. */
  readonly allowPrivate: boolean;
}

/**
 * Gets a project's key set. The URL is the tenant's, so the request can reach nothing but a public address: the name is
 * resolved once, every address that it has must be public, and the connection goes to one of those. No redirects, no
 * proxies, a bounded body and time. The error says nothing of what the other side answered.
 */
export function fetchJson(url: string, limits: FetchLimits): Promise<unknown> {
  const target = new URL(url);
  const isPlain = target.protocol === 'http:';
  if (!isPlain && target.protocol !== 'https:') throw new Error('key set URL is not https');
  if (isPlain && !limits.allowPrivate) throw new Error('key set URL is not https');
  // Node does not resolve literals, so they never meet the lookup below.
  const literal = target.hostname.replace(/^\[|\]$/g, '');
  if (isIP(literal) && !limits.allowPrivate && !isGlobalUnicast(literal))
    throw new Error('key set address is not public');
  const options: RequestOptions = {
    method: 'GET',
    headers: { accept: 'application/json' },
    agent: false,
    lookup: limits.allowPrivate ? undefined : publicLookup,
    signal: AbortSignal.timeout(limits.timeoutMs),
  };
  return new Promise((resolve, reject) => {
    const request = (isPlain ? httpRequest : httpsRequest)(target, options, (response) => {
      if (response.statusCode !== 200) {
        request.destroy();
        reject(new Error(`key set answered status ${response.statusCode}`));
        return;
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > limits.bytesMax) request.destroy(new Error('key set is too large'));
        else parts.push(part);
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString('utf8')));
        } catch {
          reject(new Error('key set is not JSON'));
        }
      });
    });
    request.on('error', reject);
    request.end();
  });
}

const publicLookup: LookupFunction = (name, options, callback) => {
  resolveName(name, { ...options, all: true }, (error, addresses) => {
    if (error) callback(error, []);
    else if (addresses.length === 0 || !addresses.every(({ address }) => isGlobalUnicast(address)))
      callback(new Error('key set address is not public'), []);
    else if (options.all) callback(null, addresses);
    else callback(null, addresses[0]?.address ?? '', addresses[0]?.family);
  });
};

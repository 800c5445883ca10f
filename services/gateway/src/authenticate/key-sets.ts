import type { Clock, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { createLocalJWKSet, type JSONWebKeySet, type JWK, type LocalJWKSet } from 'jose';

export interface KeySetOptions {
  readonly clock: Clock;
  readonly fetchJson: (url: string) => Promise<unknown>;
  /** At most one fetch of a project's key set in this time, whatever tokens ask for. */
  readonly cooldownMs: number;
  /** A key set is fetched again when it is this old, if anybody needs it. */
  readonly refreshMs: number;
  /** Older than this it is not used any more: a key that was taken out stops working (at most) this late. */
  readonly staleMaxMs: number;
}
const KEYS_MAX = 100;
const PROJECTS_MAX = 10_000;

interface Known {
  readonly url: string;
  keys: LocalJWKSet | undefined;
  keyIds: ReadonlySet<string>;
  fetchedAtMs: number;
  triedAtMs: number;
  fetching: Promise<void> | undefined;
}

/** The key sets of projects that serve theirs at a URL: one fetch at a time each, cached, bounded. */
export class KeySets {
  private readonly options: KeySetOptions;
  private readonly knownByProject = new Map<ProjectId, Known>();

  constructor(options: KeySetOptions) {
    this.options = options;
  }

  /**
   * The project's keys, fetched again when `keyId` is not among them.
   * @throws AppError AUTH_KEYS_UNAVAILABLE when there are none that are fresh enough
   */
  async keysFor(project: ProjectId, url: string, keyId: string): Promise<LocalJWKSet> {
    const { clock, cooldownMs, refreshMs, staleMaxMs } = this.options;
    const known = this.knownOf(project, url);
    const now = clock.monotonicMs();
    const mayFetch = now - known.triedAtMs >= cooldownMs;
    const wantsFetch = !known.keys || now - known.fetchedAtMs >= refreshMs || !known.keyIds.has(keyId);
    if (known.fetching && wantsFetch) await known.fetching;
    else if (mayFetch && wantsFetch) await this.fetch(known);
    if (!known.keys || clock.monotonicMs() - known.fetchedAtMs > staleMaxMs)
      throw new AppError('AUTH_KEYS_UNAVAILABLE');
    return known.keys;
  }

  private knownOf(project: ProjectId, url: string): Known {
    const known = this.knownByProject.get(project);
    if (known?.url === url) return known;
    const never = Number.NEGATIVE_INFINITY;
    const fresh: Known = {
      url,
      keys: undefined,
      keyIds: new Set(),
      fetchedAtMs: never,
      triedAtMs: never,
      fetching: undefined,
    };
    this.knownByProject.delete(project);
    this.knownByProject.set(project, fresh);
    const [oldest] = this.knownByProject.keys();
    if (this.knownByProject.size > PROJECTS_MAX && oldest !== undefined) this.knownByProject.delete(oldest);
    return fresh;
  }

  private fetch(known: Known): Promise<void> {
    const { clock, fetchJson } = this.options;
    known.triedAtMs = clock.monotonicMs();
    known.fetching = Promise.resolve()
      .then(() => fetchJson(known.url))
      .then((json) => {
        const { keys, keyIds } = keySetFrom(json);
        known.keys = keys;
        known.keyIds = keyIds;
        known.fetchedAtMs = clock.monotonicMs();
      })
      // The last good set goes on until it is too old; whoever needs a newer one gets AUTH_KEYS_UNAVAILABLE then.
      .catch(() => {})
      .finally(() => {
        known.fetching = undefined;
      });
    return known.fetching;
  }
}

/**
 * Keeps only keys that can verify and are public: a symmetric key in a set would be one that everybody can sign with.
 * @throws AppError AUTH_SETTINGS when it is no key set
 */
export function keySetFrom(json: unknown): { keys: LocalJWKSet; keyIds: ReadonlySet<string> } {
  const list: unknown = typeof json === 'object' && json !== null && 'keys' in json ? json.keys : undefined;
  if (!Array.isArray(list) || list.length > KEYS_MAX) throw new AppError('AUTH_SETTINGS', { internal: 'no key set' });
  const keys = list.filter(isUsableKey);
  return {
    keys: createLocalJWKSet({ keys } satisfies JSONWebKeySet),
    keyIds: new Set(keys.map((key) => key.kid)),
  };
}

function isUsableKey(key: unknown): key is JWK & { kid: string } {
  if (typeof key !== 'object' || key === null) return false;
  const { kty, kid, d } = key as Record<string, unknown>;
  return typeof kid === 'string' && (kty === 'RSA' || kty === 'EC' || kty === 'OKP') && d === undefined;
}

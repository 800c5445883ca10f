import type { ProjectId } from '@sluice/domain';
import type { JSONWebKeySet } from 'jose';

/** How a project's tokens are verified, as its team set it up. */
export interface ClientAuth {
  /** Must equal `iss` when given. */
  readonly issuer?: string | undefined;
  /** One of these must be among `aud`, when any is given. */
  readonly audience?: string | readonly string[] | undefined;
  /** JWS algorithms that are allowed. */
  readonly algorithms: readonly string[];
  /** Longest `exp - iat`, seconds. */
  readonly maxTokenAgeSeconds: number;
  readonly keys:
    | { readonly kind: 'hs256'; readonly secret: Uint8Array }
    | { readonly kind: 'jwks'; readonly url: string }
    | { readonly kind: 'inline-jwks'; readonly jwks: JSONWebKeySet };
}

export interface ServedProject {
  readonly project: ProjectId;
  readonly auth: ClientAuth;
}
/** Who the projects are, as the control plane knows them. */
export interface ProjectDirectory {
  /** Undefined when there is no such project or it takes no clients. */
  projectByRef(ref: string): Promise<ServedProject | undefined>;
}

/** Never allowed with a key set: the public key would be the secret (RFC 8725, 2.1). */
const ASYMMETRIC = new Set([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]);

/** The algorithms that the project allows and its kind of keys can be used with. */
export function usableAlgorithms(auth: ClientAuth): string[] {
  if (auth.keys.kind === 'hs256') return auth.algorithms.filter((algorithm) => algorithm === 'HS256');
  return auth.algorithms.filter((algorithm) => ASYMMETRIC.has(algorithm));
}

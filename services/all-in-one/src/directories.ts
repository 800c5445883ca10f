import type { ProjectDirectory } from '@sluice/control-plane';
import type { ProjectId } from '@sluice/domain';
import type { GatewayOptions } from '@sluice/gateway';
import type { SourceConnection } from '@sluice/replicator';
import type { JSONWebKeySet } from 'jose';

/** What the gateway may know of projects: how their tokens are verified, nothing of their sources. */
export function gatewayDirectory(directory: ProjectDirectory): GatewayOptions['directory'] {
  return {
    async projectByRef(ref) {
      const auth = await directory.clientAuthOf(ref);
      if (!auth) return undefined;
      const { projectId, keys, issuer, audience, algorithms, maxTokenAgeS } = auth;
      return {
        project: projectId,
        auth: {
          issuer,
          audience: [...audience],
          algorithms: [...algorithms],
          maxTokenAgeSeconds: maxTokenAgeS,
          keys:
            keys.kind === 'shared-secret'
              ? { kind: 'hs256', secret: new TextEncoder().encode(keys.secret.reveal()) }
              : keys.kind === 'jwks'
                ? { kind: 'inline-jwks', jwks: structuredClone(keys.jwks) as JSONWebKeySet } // Checked where it was set.
                : { kind: 'jwks', url: keys.url },
        },
      };
    },
  };
}

/** How the replicator reaches a project's source. Only it is handed credentials. */
export async function sourceOf(directory: ProjectDirectory, project: ProjectId): Promise<SourceConnection> {
  const { host, port, database, user, password, tlsMode, tlsCa } = await directory.sourceConnectionOf(project);
  return {
    host,
    port,
    database,
    user,
    password,
    tls: tlsMode === 'disable' ? { kind: 'off' } : { kind: 'verify-full', ca: tlsCa },
  };
}

import type { ProjectDirectory as ControlDirectory } from '@sluice/project-directory';
import type { JSONWebKeySet } from 'jose';
import type { ProjectDirectory } from './client-auth.ts';

/** What the gateway knows of projects when there is a control plane: how their tokens are verified, nothing of their sources. */
export function controlDirectory(directory: Pick<ControlDirectory, 'clientAuthOf'>): ProjectDirectory {
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

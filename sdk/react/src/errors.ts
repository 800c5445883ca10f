import { SluiceError } from '@sluice/client';

/** As docs/errors.md has them; written out, because the catalogue is larger than this package. */
const INFO = {
  CLIENT_PROVIDER_MISSING: {
    message: 'A hook of @sluice/react was called outside of a SluiceProvider.',
    remedy: 'Render the component within a SluiceProvider.',
  },
  CLIENT_MISSING: {
    message:
      'A write was asked for while the SluiceProvider has no client, as on a server or while nobody is signed in.',
    remedy: 'Give the SluiceProvider a client in the browser, and write only once there is one.',
  },
  CLIENT_ON_SERVER: {
    message: 'A suspending query was rendered on a server, which holds no replica.',
    remedy:
      'Put a Suspense boundary around the component: the page gets its fallback, and the browser renders the rows.',
  },
} as const;

export type BindingCode = keyof typeof INFO;
export const BINDING_CODES = Object.keys(INFO) as readonly BindingCode[];

export function bindingError(code: BindingCode): SluiceError {
  return new SluiceError({ code, ...INFO[code] });
}

/**
 * What a suspending query throws on a server. React then sends the fallback and renders in the browser; Next.js takes any other
 * error of a page that it renders ahead for a failed build, and knows this one by its digest.
 */
export function onServerError(): SluiceError {
  return Object.assign(bindingError('CLIENT_ON_SERVER'), { digest: 'BAILOUT_TO_CLIENT_SIDE_RENDERING' });
}

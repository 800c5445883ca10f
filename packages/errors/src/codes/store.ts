import { defineCodes } from '../code.ts';

export const storeCodes = defineCodes({
  STORE_FENCED: {
    what: 'Another worker has taken over this project.',
    who: 'nobody',
    how: 'Nothing to do: the new holder goes on from the last applied position.',
    retry: 'give-up',
  },
  STORE_GAP: {
    what: 'A frame began beyond the applied position.',
    who: 'nobody',
    how: 'Nothing to do: the source is streamed again from the applied position.',
    retry: 'retry',
  },
  STORE_UNAVAILABLE: {
    what: 'The bucket store does not answer.',
    who: 'operator',
    how: 'Bring the bucket store back; nothing is confirmed to the source until then and clients keep their last checkpoint.',
    retry: 'retry',
    status: 503,
  },
});

import { defineCodes } from '../code.ts';

export const queueCodes = defineCodes({
  QUEUE_UNAVAILABLE: {
    what: 'The Redis that carries changes between services does not answer.',
    who: 'operator',
    how: 'Bring Redis back or correct REDIS_URL; changes wait at the source until then, and nothing is lost with what was queued.',
    retry: 'retry',
    status: 503,
  },
  QUEUE_MEMORY_FULL: {
    what: 'The Redis that carries changes between services is out of memory.',
    who: 'operator',
    how: 'Give it more memory, or bring the bucket workers back if they are behind; changes wait at the source until then, and nothing is lost.',
    retry: 'retry',
  },
  QUEUE_EVICTING: {
    what: 'The Redis that carries changes between services may throw them away to make room.',
    who: 'operator',
    how: 'Set maxmemory-policy to noeviction (it is {policy}) or maxmemory to 0, then start again. A full queue then slows the source down instead.',
    retry: 'wait',
  },
  QUEUE_SERVER_UNSUPPORTED: {
    what: 'The Redis that was given cannot carry changes between services.',
    who: 'operator',
    how: 'Point REDIS_URL at a single Redis 7.0 or newer: {reason}.',
    retry: 'wait',
  },
  QUEUE_FRAME_MALFORMED: {
    what: 'Something in the queue between services was no frame of this version and was dropped.',
    who: 'operator',
    how: 'Nothing to do during an upgrade: what was dropped is streamed again. If it stays, make sure that nothing else writes to the keys that begin with sluice: in this Redis.',
    retry: 'retry',
  },
});

import { defineCodes } from '../code.ts';

export const storeCodes = defineCodes({
  ROW_TOO_LARGE: {
    what: 'A row of a stream, with the columns that the stream selects, is larger than clients take; it was left out of that stream.',
    who: 'tenant',
    how: 'Make the row smaller, or leave its large columns out of the stream. Largest encoded row: {bytesMax} bytes. A row that is too large before any column is left out is reported as SOURCE_ROW_OVERSIZED.',
    retry: 'give-up',
  },
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
  STORE_CHECKPOINT_GONE: {
    what: 'A checkpoint was asked for that is older than what the bucket store keeps apart.',
    who: 'nobody',
    how: 'Nothing to do: a reader goes on at the newest checkpoint, and a client that was away for longer than the retention loads its data anew. What it has yet to upload stays.',
    retry: 'retry',
    status: 410,
  },
  STORE_STREAM_GONE: {
    what: 'A stream was dropped and its rows are being erased.',
    who: 'nobody',
    how: 'Nothing to do: the reader goes on at the newest checkpoint, where the stream is no more.',
    retry: 'retry',
    status: 410,
  },
  STREAM_DIFFERED: {
    what: 'Rows of a stream, as clients were served, were not those of the source; the stream was copied anew and has taken its place.',
    who: 'operator',
    how: 'Clients are right again. Find out how the difference came about before the next one: look at the log around restores and failovers of the source and of the bucket store, and report it.',
    retry: 'give-up',
  },
  STORE_UNAVAILABLE: {
    what: 'The bucket store does not answer.',
    who: 'operator',
    how: 'Bring the bucket store back; nothing is confirmed to the source until then and clients keep their last checkpoint.',
    retry: 'retry',
    status: 503,
  },
  WORKER_STOPPED: {
    what: 'Changes of this project can no longer be processed.',
    who: 'operator',
    how: 'Nothing was skipped and the last checkpoint stays. The bucket worker has logged which invariant is broken; put it right and resume the project.',
    retry: 'wait',
  },
});

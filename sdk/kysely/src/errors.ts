import { SluiceError } from '@sluice/client';

/** As docs/errors.md has it; written out, because the catalogue is larger than this package. */
export function transactionUnsupported(): SluiceError {
  return new SluiceError({
    code: 'CLIENT_TRANSACTION_UNSUPPORTED',
    message: 'An interactive transaction was begun; a local transaction is one call that holds all of its statements.',
    remedy:
      'Read first, then pass all writes together: to `write` of the client, or to `batch` of the driver where it has one.',
  });
}

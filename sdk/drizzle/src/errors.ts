import { SluiceError } from '@sluice/client';

/** As docs/errors.md has them; written out, because the catalogue is larger than this package. */
export function transactionUnsupported(): SluiceError {
  return new SluiceError({
    code: 'CLIENT_TRANSACTION_UNSUPPORTED',
    message: 'An interactive transaction was begun; a local transaction is one call that holds all of its statements.',
    remedy:
      'Read first, then pass all writes together: to `write` of the client, or to `batch` of the driver where it has one.',
  });
}

export function columnsUnnamed(): SluiceError {
  return new SluiceError({
    code: 'CLIENT_COLUMNS_UNNAMED',
    message: 'A column of the result is named by a number, so that its place among the others is lost.',
    remedy: 'Give each selected expression a name with AS.',
  });
}

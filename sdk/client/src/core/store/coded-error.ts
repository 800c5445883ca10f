import { MalformedBytesError } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { SQLITE, SqliteFailure } from '../sqlite/module.ts';

/** Gives what SQLite and the parsers throw a stable code; what has one, and a mismatch, stays as it is. */
export function codedError(error: unknown): unknown {
  if (error instanceof MalformedBytesError)
    return new AppError('CLIENT_CHUNK_INVALID', { internal: error.message, cause: error });
  if (!(error instanceof SqliteFailure)) return error;
  const internal = `sqlite result ${error.resultCode}`;
  switch (error.primary) {
    case SQLITE.constraint:
      return new AppError('CLIENT_CHUNK_INVALID', { internal, cause: error });
    case SQLITE.full:
    case SQLITE.nomem:
      return new AppError('CLIENT_STORAGE_FULL', { internal, cause: error });
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return new AppError('CLIENT_STORAGE_CORRUPT', { internal, cause: error });
    default:
      return new AppError('CLIENT_STORAGE_FAILED', { internal, cause: error });
  }
}

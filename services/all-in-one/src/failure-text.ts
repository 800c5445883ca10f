import { isAppError } from '@sluice/errors';

/** What a person who ran `npm start` is told when it fails: what happened, and what to do about it. */
export function failureText(error: unknown): string {
  if (isAppError(error)) return `${error.code}: ${error.publicMessage}\n  ${error.remedy}`;
  const message = error instanceof Error ? error.message : String(error);
  return `${message}\n  ${remedyOf(error)}`;
}

function remedyOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC') return 'Free some disk space, then run `npm start` again: it goes on from here.';
  if (code === 'EACCES' || code === 'EPERM')
    return 'Let this user write there, or set SLUICE_HOME to a folder that it may write.';
  if (error instanceof Error && error.message.includes('is in use'))
    return 'Stop the other `npm start` first, or set SLUICE_HOME to another folder.';
  return 'Run `npm start` again: it goes on from here. If that fails too, `npm start -- --fresh` starts over, and SLUICE_LOG_LEVEL=info shows more.';
}

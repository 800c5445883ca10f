import { AppError, type Code, isAppError } from '@sluice/errors';

/** SQLSTATE by meaning, for the errors that we tell apart (PostgreSQL manual, appendix A). */
export const SQLSTATE = {
  protocolViolation: '08P01',
  duplicateObject: '42710',
  insufficientPrivilege: '42501',
  objectInUse: '55006',
  notInPrerequisiteState: '55000',
  undefinedObject: '42704',
  undefinedTable: '42P01',
  queryCanceled: '57014',
  lockNotAvailable: '55P03',
} as const;

const codeByConnectState: Readonly<Record<string, Code>> = {
  '28P01': 'SOURCE_PASSWORD',
  '28000': 'SOURCE_PASSWORD',
  '3D000': 'SOURCE_DATABASE_MISSING',
  '42501': 'SOURCE_DATABASE_MISSING',
  '08P01': 'SOURCE_POOLER',
  // The one thing that our start-up options ask of a server and that it may not have: text in UTF-8.
  '0A000': 'SOURCE_ENCODING',
};
/** Classes of errors that pass by themselves: connection, resources, operator intervention, system. */
const PASSING_CLASS = /^(08|53|57P|58|XX)/;
const TLS_PROBLEM = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL|EPROTO/;

/** The error of opening a session, coded. The password and the server's text stay out of the public part. */
export function connectError(cause: unknown): AppError {
  if (isAppError(cause)) return cause;
  const code = codeOf(cause);
  const known = codeByConnectState[code];
  if (known) return new AppError(known, { internal: messageOf(cause), cause, details: { sqlstate: code } });
  if (TLS_PROBLEM.test(code) || /SSL connection/.test(messageOf(cause))) {
    return new AppError('SOURCE_TLS', { internal: messageOf(cause), cause });
  }
  if (messageOf(cause).startsWith('SASL'))
    return new AppError('SOURCE_PASSWORD', { internal: messageOf(cause), cause });
  return sourceError(cause);
}

/** The error of a statement or of a running connection, coded. */
export function sourceError(cause: unknown): AppError {
  if (isAppError(cause)) return cause;
  const code = codeOf(cause);
  return new AppError(statementCode(code), {
    internal: messageOf(cause),
    cause,
    details: { sqlstate: code },
  });
}

function statementCode(sqlstate: string): Code {
  if (sqlstate === SQLSTATE.lockNotAvailable) return 'SOURCE_LOCKED';
  return /^[0-9A-Z]{5}$/.test(sqlstate) && !PASSING_CLASS.test(sqlstate) ? 'SOURCE_QUERY' : 'SOURCE_UNREACHABLE';
}

/** The SQLSTATE that a source error carries, or undefined. */
export function sqlstateOf(error: unknown): string | undefined {
  const state = isAppError(error) ? error.details.sqlstate : undefined;
  return typeof state === 'string' && state !== '' ? state : undefined;
}

function codeOf(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return '';
  return typeof cause.code === 'string' ? cause.code : '';
}
function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

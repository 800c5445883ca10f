/** What a log record says about something thrown. */
export interface ErrorDescription {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorDescription;
}

const causesMax = 5;
/** SQLSTATE classes whose messages quote values of rows or parameters: data, constraints, and what functions raise. */
const classesThatQuoteData = new Set(['22', '23', '44', 'P0']);

/**
 * The loggable part of an error and of its causes. Extra properties are left out (a driver's error carries row values in
 * `detail` and `where`), and so is the message of a database error that quotes data.
 */
export function describeError(thrown: unknown, depth = 0): ErrorDescription {
  if (!(thrown instanceof Error)) return { name: 'NonError', message: `thrown: ${typeof thrown}` };
  const code = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
  const hidesMessage = code !== undefined && isSqlState(thrown, code) && classesThatQuoteData.has(code.slice(0, 2));
  const message = hidesMessage ? '[database error that quotes data]' : thrown.message;
  return {
    name: thrown.name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(thrown.stack === undefined ? {} : { stack: framesOf(thrown.stack, thrown.message) }),
    ...(thrown.cause === undefined || depth === causesMax ? {} : { cause: describeError(thrown.cause, depth + 1) }),
  };
}

function isSqlState(error: Error, code: string): boolean {
  return 'severity' in error && /^[0-9A-Z]{5}$/.test(code);
}

/** The stack without its heading, which repeats the message. */
function framesOf(stack: string, message: string): string {
  const at = stack.indexOf(message);
  const frames = at < 0 ? stack : stack.slice(at + message.length);
  return frames
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .join('\n');
}

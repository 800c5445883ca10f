import type { Clock } from '@sluice/domain';
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import { describeError } from './describe-error.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/**
 * `error` takes whatever was thrown. Every other field is a string, number, bigint, boolean or a list of strings, under a
 * name that is allowed; anything else is not printed.
 */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * One line per record: a constant message in lower case, and what varies as fields. `error`: someone must act; `warn`:
 * degraded, healing itself; `info`: life cycle; `debug`: per batch.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same logger with fields that every record carries. */
  child(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  readonly level: LogLevel;
  readonly clock: Clock;
  /** Names of this service's own fields, beside `commonFields`. */
  readonly allow?: readonly string[];
  /** Default: standard output, written line by line before the call returns. */
  readonly destination?: DestinationStream;
}

/** Fields that any service may log: ids and positions of ours, sizes and times, never contents. */
const commonFields = `
  attempt bucket bytes checkpoint clientId code connectionId count durationMs epoch host jobId lagBytes lagMs lsn method
  ops organizationId pid port position projectId publication rangesDone rangesLeft reason requestId retryInMs rows shard signal
  slot state status stream streamId table version workerId
`
  .trim()
  .split(/\s+/);

/**
 * A JSON logger that prints the fields it was told about and nothing else: the value of a field whose name is not
 * allowed appears as `[not allowed]`, so that a row value or a token logged by mistake does not get out.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { clock } = options;
  const sink = pino(
    {
      level: options.level,
      base: { service: options.service },
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    // pino's own default writes in the background and flushes at exit past what is still in flight: out of order.
    options.destination ?? pino.destination({ fd: process.stdout.fd, sync: true }),
  );
  return loggerOver(sink, new Set([...commonFields, ...(options.allow ?? [])]));
}

function loggerOver(sink: PinoLogger, allowed: ReadonlySet<string>): Logger {
  const write = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (!sink.isLevelEnabled(level)) return;
    sink[level](fields ? printable(fields, allowed) : {}, message);
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => loggerOver(sink.child(printable(fields, allowed)), allowed),
  };
}

function printable(fields: LogFields, allowed: ReadonlySet<string>): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'error') shown.error = describeError(value);
    else shown[name] = allowed.has(name) ? plainValue(value) : '[not allowed]';
  }
  return shown;
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  const isStrings = Array.isArray(value) && value.every((item) => typeof item === 'string');
  // An object could hold anything, a whole row or a request among them.
  return isStrings || value === null || typeof value !== 'object' ? value : '[not a plain value]';
}

import { AppError } from '@sluice/errors';
import { Prisma } from './generated/client.ts';

/** Prisma's codes for a server that cannot be reached, closed the connection, timed out or had no connection left. */
const UNAVAILABLE_CODES = new Set([
  'P1001',
  'P1002',
  'P1008',
  'P1017',
  'P2024',
  'P2028',
  'P2037',
  'ECONNREFUSED',
  'ECONNRESET',
]);
/** The same in the words of its adapter. */
const UNAVAILABLE_KINDS = new Set(['DatabaseNotReachable', 'ConnectionClosed', 'SocketTimeout', 'TooManyConnections']);
/** What pg and its pool say of connections that were lost, or could not be had in time. */
const LOST_BY_DRIVER =
  /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/;
/** SQLSTATEs of a server that is starting, stopping, out of connections or out of room, and of lost connections. */
const UNAVAILABLE_STATES = /^(08|53|57|58)/;

/**
 * The repository, whose methods throw API_UNAVAILABLE when the database is out of reach: a caller asks again then. Other errors
 * stay as they are.
 */
export function orUnavailable<T extends object>(repository: T): T {
  return new Proxy(repository, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]): Promise<unknown> => {
        try {
          return await member.apply(target, args);
        } catch (error) {
          throw isUnavailable(error) ? new AppError('API_UNAVAILABLE', { cause: error }) : error;
        }
      };
    },
  });
}

function isUnavailable(error: unknown): boolean {
  if (error instanceof Prisma.PrismaClientInitializationError) return true;
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return isLostByDriver(error);
  if (UNAVAILABLE_CODES.has(error.code)) return true;
  const { kind, originalCode } = adapterCause(error);
  return UNAVAILABLE_KINDS.has(kind ?? '') || UNAVAILABLE_STATES.test(originalCode ?? '');
}

/** The adapter lets pass as they are: errors of sockets that it does not list, and those of the driver that have no code. */
function isLostByDriver(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return 'syscall' in error || LOST_BY_DRIVER.test(error.message);
}

/** What the driver said: Prisma has no codes of its own for all of it, and one code for all that befalls raw SQL. */
function adapterCause({ meta }: Prisma.PrismaClientKnownRequestError): { kind?: string; originalCode?: string } {
  const error = meta?.driverAdapterError;
  // The adapter's own errors, with these members.
  return error instanceof Error && typeof error.cause === 'object' ? { ...error.cause } : {};
}

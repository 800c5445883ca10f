import type { Code } from '@sluice/errors';
import type { PlannedWrite, Refusal } from '../model.ts';

/** What we read of the driver's error. Its message and DETAIL stay out: they quote values, of other rows too. */
interface DatabaseError {
  readonly code: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
}

/** The SQLSTATE of a driver's error; undefined for any other, such as that of a connection. */
export function sqlstateFrom(error: unknown): string | undefined {
  return isDatabaseError(error) ? error.code : undefined;
}

/** Those of the server have a severity; a socket's have codes that may look alike (EPIPE). */
function isDatabaseError(error: unknown): error is DatabaseError & Error {
  return error instanceof Error && 'severity' in error && 'code' in error && typeof error.code === 'string';
}

/**
 * Classes that say nothing of the write itself (PostgreSQL manual, appendix A): connection, transaction state, rollback by
 * the server, resources, objects in use, operator, system, internal.
 */
const NOT_THE_WRITE = /^(08|25|40|53|55|57|58|F0|XX)/;

const CODE_BY_STATE: Readonly<Record<string, Code>> = {
  '42501': 'WRITE_FORBIDDEN',
  '42P01': 'WRITE_TABLE_UNKNOWN',
  '3F000': 'WRITE_TABLE_UNKNOWN',
  '42703': 'WRITE_COLUMN_UNKNOWN',
  '44000': 'WRITE_CONSTRAINT',
};
const CODE_BY_CLASS: Readonly<Record<string, Code>> = { '22': 'WRITE_VALUE_INVALID', '23': 'WRITE_CONSTRAINT' };

/**
 * Why the database refused a write for good; undefined when the error is not the write's fault and it may be tried again.
 * @param write the one that was being made; undefined for constraints that are checked at the end
 */
export function refusalOf(error: unknown, write: PlannedWrite | undefined): Refusal | undefined {
  if (!isDatabaseError(error) || NOT_THE_WRITE.test(error.code)) return undefined;
  const code = CODE_BY_STATE[error.code] ?? CODE_BY_CLASS[error.code.slice(0, 2)] ?? 'WRITE_REJECTED';
  const parts = [
    write?.table.table.name ?? error.table,
    error.column === undefined ? undefined : `column ${error.column}`,
    error.constraint === undefined ? undefined : `constraint ${error.constraint}`,
    `SQLSTATE ${error.code}`,
  ];
  return { code, reason: parts.filter((part) => part !== undefined).join(', ') };
}

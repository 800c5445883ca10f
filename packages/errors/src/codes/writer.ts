import { defineCodes } from '../code.ts';

/** Why an upload is refused for good. The client shows it to its app, which takes the write back or makes another. */
const refusalCodes = defineCodes({
  WRITE_ROW_NOT_FOUND: {
    what: 'A row to be changed is not there, or is not the user’s.',
    who: 'app',
    how: 'Tell the user that the row is gone. If it is there, a policy of row-level security hides it from the user.',
    retry: 'give-up',
  },
  WRITE_STALE: {
    what: 'A row was changed by somebody else after the user saw it.',
    who: 'app',
    how: 'Show the user the row as it is now and let them decide again, or give the table the policy merge.',
    retry: 'give-up',
  },
  WRITE_CONSTRAINT: {
    what: 'A write breaks a constraint of the database.',
    who: 'app',
    how: 'Check the same in the app before it writes; the refusal names the constraint. A key that exists counts as one.',
    retry: 'give-up',
  },
  WRITE_TIMED_OUT: {
    what: 'The database did not finish a write within the time that one may take, twice.',
    who: 'tenant',
    how: 'Look for slow triggers, missing indexes and long checks behind the table that the refusal names; the app may write it again.',
    retry: 'give-up',
  },
  WRITE_FORBIDDEN: {
    what: 'The database does not allow this user’s write.',
    who: 'app',
    how: 'If the user should be allowed to, grant the privilege to the role of the rules’ writes, or change the policy of row-level security.',
    retry: 'give-up',
  },
  WRITE_VALUE_INVALID: {
    what: 'A value is not one of its column’s type.',
    who: 'app',
    how: 'Write values as docs/types.md shows them for the column’s type.',
    retry: 'give-up',
  },
  WRITE_TABLE_UNKNOWN: {
    what: 'There is no such table to write to.',
    who: 'app',
    how: 'Write to tables that the rules have. If the table was just removed or renamed, release the app for the new rules.',
    retry: 'give-up',
  },
  WRITE_TABLE_READ_ONLY: {
    what: 'The table is not one that clients may write.',
    who: 'tenant',
    how: 'List the table under `writes.tables` in the rules, or do not write to it.',
    retry: 'give-up',
  },
  WRITE_COLUMN_UNKNOWN: {
    what: 'A write names a column that its table does not have.',
    who: 'app',
    how: 'Write to columns that the rules select. If the column was just removed or renamed, release the app for the new rules.',
    retry: 'give-up',
  },
  WRITE_INSERT_ONLY: {
    what: 'Rows of this table can be added, not changed or deleted.',
    who: 'tenant',
    how: 'Give the table another policy under `writes.tables` in the rules, or only add to it.',
    retry: 'give-up',
  },
  WRITE_TOO_LARGE: {
    what: 'A local transaction has more changes than one upload may have.',
    who: 'app',
    how: 'Split the work into transactions of at most 5,000 changed rows and 192 KB.',
    retry: 'give-up',
  },
  WRITE_MALFORMED: {
    what: 'A mutation does not fit its table.',
    who: 'app',
    how: 'Use the SDK release that belongs to the server; docs/protocol.md says what a mutation holds.',
    retry: 'give-up',
  },
  WRITE_REJECTED: {
    what: 'The database refused the write.',
    who: 'app',
    how: 'Look up the SQLSTATE that the refusal names. P0001 comes from a trigger of your own.',
    retry: 'give-up',
  },
});

/** Why uploads cannot be taken now, or at all. */
const stateCodes = defineCodes({
  WRITES_OFF: {
    what: 'The project’s rules let clients write nothing.',
    who: 'tenant',
    how: 'Add `writes` to the rules and deploy them, if clients are to write.',
    retry: 'wait',
  },
  WRITES_NOT_SERVED: {
    what: 'This installation takes no writes.',
    who: 'operator',
    how: 'Run a writer and let the gateway reach it.',
    retry: 'wait',
  },
  WRITES_ROLE_UNUSABLE: {
    what: 'The role that writes are made as does not exist, or the source’s role may not take it on.',
    who: 'tenant',
    how: 'Create the role of the rules’ `writes.role` at the source and GRANT it to the role of the connection.',
    retry: 'retry',
  },
  WRITES_ROLE_UNSAFE: {
    what: 'The role that writes are made as is not bound by row-level security.',
    who: 'tenant',
    how: 'Use a role that is neither SUPERUSER nor BYPASSRLS for `writes.role`.',
    retry: 'retry',
  },
  WRITES_TABLES_UNUSABLE: {
    what: 'The tables in which writes are recorded are missing at the source, or the source’s role may not use them.',
    who: 'tenant',
    how: 'Grant USAGE on schema sluice and SELECT, INSERT, UPDATE and DELETE on its tables to the role of the connection. If they are gone, the refused deployment of rules with `writes` shows the SQL that makes them.',
    retry: 'retry',
  },
  WRITES_BUSY: {
    what: 'The source, or its share of the writer, is too busy for the write now.',
    who: 'nobody',
    how: 'Nothing to do: the client sends it again. If it stays so, look for statements that hold locks for long.',
    retry: 'retry',
  },
  WRITES_FAILED: {
    what: 'The writer failed at its own work.',
    who: 'operator',
    how: 'Nothing was written; the client sends the upload again. The log holds the cause under the project’s id.',
    retry: 'retry',
  },
  WRITE_CLIENT_FOREIGN: {
    what: 'The client id belongs to another user.',
    who: 'app',
    how: 'Give each user a database of their own; a client id is never shared.',
    retry: 'give-up',
    close: 4403,
  },
});

/** What becomes of uploads (L15). */
export const writerCodes = { ...refusalCodes, ...stateCodes };

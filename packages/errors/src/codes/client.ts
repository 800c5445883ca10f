import { defineCodes } from '../code.ts';

const connectionCodes = defineCodes({
  CLIENT_CONNECTION_LOST: {
    what: 'The connection to the sync gateway could not be opened, or ended.',
    who: 'nobody',
    how: 'Nothing to do: the client connects again by itself and keeps showing its last checkpoint. If it stays, check the url and that the gateway runs.',
    retry: 'retry',
  },
  CLIENT_SERVER_SILENT: {
    what: 'The sync gateway did not answer in time.',
    who: 'nobody',
    how: 'Nothing to do: the client connects again by itself and keeps showing its last checkpoint.',
    retry: 'retry',
  },
  CLIENT_AUTH_FAILED: {
    what: 'The app gave the client no token.',
    who: 'app',
    how: 'Make the auth option return a token of at most 8 KB within 30 seconds; the client asks again by itself.',
    retry: 'retry',
  },
  CLIENT_VERSION_UNSUPPORTED: {
    what: 'The sync gateway speaks another version of the protocol.',
    who: 'app',
    how: 'Install the SDK release that belongs to the gateway, then connect again.',
    retry: 'give-up',
  },
  CLIENT_FRAME_MALFORMED: {
    what: 'The sync gateway sent bytes that are not a message of the protocol.',
    who: 'operator',
    how: 'Nothing of it was applied, and the client connects again. Make sure that nothing between client and gateway rewrites messages.',
    retry: 'retry',
  },
  CLIENT_FRAME_TOO_LARGE: {
    what: 'The sync gateway sent a message or chunk that is larger than the protocol allows.',
    who: 'operator',
    how: 'Nothing of it was applied, and the client connects again. Make sure that SDK and gateway are of matching releases.',
    retry: 'retry',
  },
  CLIENT_FRAME_OUT_OF_ORDER: {
    what: 'The sync gateway sent a message that cannot follow the ones before it.',
    who: 'operator',
    how: 'Nothing of it was applied, and the client connects again. Make sure that SDK and gateway are of matching releases. Reason: {reason}.',
    retry: 'retry',
  },
});

const applyCodes = defineCodes({
  CLIENT_CHUNK_INVALID: {
    what: 'A chunk does not hold what its table or its announcement says.',
    who: 'operator',
    how: 'The checkpoint was not applied, and the client loads the bucket again. Make sure that SDK and gateway are of matching releases.',
    retry: 'retry',
  },
  CLIENT_SCHEMA_INVALID: {
    what: 'The announced tables cannot be created in SQLite.',
    who: 'tenant',
    how: 'Rename the table or column in the sync rules; SQLite says: {reason}.',
    retry: 'wait',
  },
  CHECKSUM_MISMATCH: {
    what: 'The rows of a bucket did not add up to the checksum of the checkpoint.',
    who: 'operator',
    how: 'The checkpoint was not applied, and the client loads the bucket again. If it comes again, report it: rows would have been wrong.',
    retry: 'retry',
  },
});

const storageCodes = defineCodes({
  CLIENT_STORAGE_BUSY: {
    what: 'Another tab or process holds this database.',
    who: 'app',
    how: 'Close the other tab; this one goes on by itself as soon as the database is free.',
    retry: 'retry',
  },
  CLIENT_STORAGE_UNAVAILABLE: {
    what: 'This browser gives the page no durable storage, so the database is kept in memory.',
    who: 'app',
    how: 'Everything works, but a reload downloads again. Private windows and pages that are not served over HTTPS have no such storage.',
    retry: 'give-up',
  },
  CLIENT_STORAGE_FULL: {
    what: 'The storage of this device, or its memory, is full.',
    who: 'app',
    how: 'Free space on the device or narrow the sync rules; the client keeps its last checkpoint and tries again.',
    retry: 'retry',
  },
  CLIENT_STORAGE_CORRUPT: {
    what: 'The local database was damaged and has been emptied.',
    who: 'nobody',
    how: 'Nothing to do: the client downloads its rows again.',
    retry: 'retry',
  },
  CLIENT_STORAGE_FAILED: {
    what: 'The local database failed to read or write.',
    who: 'app',
    how: 'The client keeps its last checkpoint and tries again; if it stays, reload the page or start the process again.',
    retry: 'retry',
  },
  CLIENT_WORKER_FAILED: {
    what: "The client's worker could not be started, or ended.",
    who: 'app',
    how: 'Serve worker.bundle.js and sqlite3.wasm beside each other and allow them in the Content Security Policy (worker-src, wasm-unsafe-eval), then create the client again.',
    retry: 'give-up',
  },
});

const tabCodes = defineCodes({
  CLIENT_TAB_SILENT: {
    what: 'Another tab holds the database and does not answer, so the call was given up.',
    who: 'app',
    how: 'Close the other tab, or reload it. A write may have been kept: look whether it is there before writing it again.',
    retry: 'retry',
  },
  CLIENT_TABS_INCOMPATIBLE: {
    what: 'Another tab of this app holds the database with another version of the SDK.',
    who: 'app',
    how: 'Reload the tab that is older; this one goes on by itself as soon as the database is free.',
    retry: 'retry',
  },
  CLIENT_SIGNED_OUT: {
    what: 'Another tab signed out, and everything that was synced has been erased for all of them.',
    who: 'app',
    how: 'Show that nobody is signed in. After the next sign-in call connect() again.',
    retry: 'give-up',
  },
  CLIENT_CALLS_TOO_MANY: {
    what: 'Too many calls of one client wait for an answer.',
    who: 'app',
    how: 'Await some of them before making more.',
    retry: 'retry',
  },
});

const callCodes = defineCodes({
  CLIENT_OPTIONS_INVALID: {
    what: 'The client was created with an option that cannot be used.',
    who: 'app',
    how: 'Correct the option: {reason}.',
    retry: 'give-up',
  },
  CLIENT_CLOSED: {
    what: 'The client was closed.',
    who: 'app',
    how: 'Create a new client.',
    retry: 'give-up',
  },
  CLIENT_NOT_READY: {
    what: 'The first checkpoint has not arrived, so there are no tables yet.',
    who: 'app',
    how: 'Await ready() before the first query, or use live(), which waits by itself.',
    retry: 'retry',
  },
  CLIENT_WRITE_INVALID: {
    what: 'The write cannot be done; nothing of its transaction was.',
    who: 'app',
    how: 'Correct the write: {reason}.',
    retry: 'give-up',
  },
  CLIENT_WRITE_TABLE_UNKNOWN: {
    what: 'A write names a table that is not synced.',
    who: 'app',
    how: 'Write to a table that a stream of the sync rules feeds; {table} is none.',
    retry: 'give-up',
  },
  CLIENT_WRITE_FORBIDDEN: {
    what: 'A write does something else than to insert, change or delete rows of synced tables, or changes a key.',
    who: 'app',
    how: 'Write rows of synced tables alone. To give a row another key, delete it and insert a new one.',
    retry: 'give-up',
  },
  CLIENT_WRITES_READ_ONLY: {
    what: 'This project takes no writes.',
    who: 'tenant',
    how: 'Name the tables that users may write in the `writes` of the sync rules, and deploy them.',
    retry: 'give-up',
  },
  CLIENT_WRITE_TOO_LARGE: {
    what: 'A local transaction changes more than one upload may carry; nothing of it was done.',
    who: 'app',
    how: 'Divide it: at most {rowsMax} rows and {bytesMax} bytes in one transaction.',
    retry: 'give-up',
  },
  CLIENT_QUERY_INVALID: {
    what: 'The SQL cannot be run.',
    who: 'app',
    how: 'Correct the query; SQLite says: {reason}.',
    retry: 'give-up',
  },
  CLIENT_QUERY_NOT_READ_ONLY: {
    what: 'The SQL does more than read.',
    who: 'app',
    how: 'Pass exactly one SELECT, VALUES or EXPLAIN; the synced tables are written by the server alone.',
    retry: 'give-up',
  },
  CLIENT_QUERY_PARAMETER_INVALID: {
    what: 'A query parameter has no SQLite value, or their number does not fit the SQL.',
    who: 'app',
    how: 'Pass null, boolean, number, bigint of 64 bits, string or Uint8Array, one for each place: {reason}.',
    retry: 'give-up',
  },
  CLIENT_QUERY_RESULT_TOO_LARGE: {
    what: 'The result of a query is larger than one result may be.',
    who: 'app',
    how: 'Add a LIMIT or select fewer columns; the bound is {max} bytes.',
    retry: 'give-up',
  },
});

const bindingCodes = defineCodes({
  CLIENT_PROVIDER_MISSING: {
    what: 'A hook of @sluice/react was called outside of a SluiceProvider.',
    who: 'app',
    how: 'Render the component within a SluiceProvider.',
    retry: 'give-up',
  },
  CLIENT_MISSING: {
    what: 'A write was asked for while the SluiceProvider has no client, as on a server or while nobody is signed in.',
    who: 'app',
    how: 'Give the SluiceProvider a client in the browser, and write only once there is one.',
    retry: 'give-up',
  },
  CLIENT_ON_SERVER: {
    what: 'A suspending query was rendered on a server, which holds no replica.',
    who: 'app',
    how: 'Put a Suspense boundary around the component: the page gets its fallback, and the browser renders the rows.',
    retry: 'give-up',
  },
  CLIENT_TRANSACTION_UNSUPPORTED: {
    what: 'An interactive transaction was begun; a local transaction is one call that holds all of its statements.',
    who: 'app',
    how: 'Read first, then pass all writes together: to `write` of the client, or to `batch` of the driver where it has one.',
    retry: 'give-up',
  },
  CLIENT_COLUMNS_UNNAMED: {
    what: 'A column of the result is named by a number, so that its place among the others is lost.',
    who: 'app',
    how: 'Give each selected expression a name with AS.',
    retry: 'give-up',
  },
});

/** Raised by the SDK itself, in the browser and in Node. */
export const clientCodes = {
  ...connectionCodes,
  ...applyCodes,
  ...storageCodes,
  ...tabCodes,
  ...callCodes,
  ...bindingCodes,
};

import { defineCodes } from '../code.ts';

export const sourceCodes = defineCodes({
  SOURCE_PROTOCOL: {
    what: 'The source sent replication bytes that do not follow the protocol.',
    who: 'operator',
    how: 'Nothing after them was read, and the last checkpoint stays. Make sure that the connection leads straight to a supported Postgres server and not to a pooler or a proxy that rewrites messages, then resume the project.',
    retry: 'wait',
  },
  SOURCE_VALUE: {
    what: 'The source sent a value that is not written as its column type should be.',
    who: 'tenant',
    how: 'Nothing after it was read, and the last checkpoint stays. Make sure that nothing between us and the database (a pooler, a proxy, a login trigger) changes DateStyle, IntervalStyle, TimeZone, extra_float_digits or bytea_output of our sessions, then resume the project. Type OID: {typeOid}.',
    retry: 'wait',
  },
});

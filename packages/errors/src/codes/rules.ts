import { defineCodes } from '../code.ts';

const fileCodes = defineCodes({
  RULES_TOO_LARGE: {
    what: 'The rules file, or a query in it, is larger than a rules file may be.',
    who: 'tenant',
    how: 'Stay within the limits in the sync rules reference: 256 KB a file, 200 streams, 8 KB a query.',
    retry: 'wait',
    status: 413,
  },
  RULES_YAML_INVALID: {
    what: 'The rules file is not valid YAML.',
    who: 'tenant',
    how: 'Correct the line that the diagnostic names; indent with spaces and put queries under `query: |`.',
    retry: 'wait',
    status: 422,
  },
  RULES_YAML_UNSUPPORTED: {
    what: 'The rules file uses a YAML feature that rules files do not have.',
    who: 'tenant',
    how: 'Write plain maps and text: no anchors, aliases, tags, merge keys, lists or second documents.',
    retry: 'wait',
    status: 422,
  },
  RULES_SHAPE_INVALID: {
    what: 'A key of the rules file is unknown, missing, repeated or of the wrong kind.',
    who: 'tenant',
    how: 'A rules file has `version: 1`, `streams` and, if wanted, `writes`; a stream has `query` and, if wanted, `table`; `writes` has `role` and `tables`.',
    retry: 'wait',
    status: 422,
  },
  RULES_NAME_INVALID: {
    what: 'A stream, table or column name cannot be used.',
    who: 'tenant',
    how: 'Choose another name, or give one with `table:` or `AS`.',
    retry: 'wait',
    status: 422,
  },
});

const queryCodes = defineCodes({
  RULES_SQL_SYNTAX: {
    what: 'A query is not valid SQL.',
    who: 'tenant',
    how: 'Correct the query at the position that the diagnostic names; the grammar is that of Postgres.',
    retry: 'wait',
    status: 422,
  },
  RULES_STATEMENT_UNSUPPORTED: {
    what: 'A query is not one plain SELECT.',
    who: 'tenant',
    how: 'Write exactly one SELECT per stream, and one stream per statement.',
    retry: 'wait',
    status: 422,
  },
  RULES_CLAUSE_UNSUPPORTED: {
    what: 'A query uses a clause that a stream cannot have.',
    who: 'tenant',
    how: 'Keep SELECT, FROM one table and WHERE; sort, group and limit in the client, where the rows are local.',
    retry: 'wait',
    status: 422,
  },
  RULES_SELECT_UNSUPPORTED: {
    what: 'The select list holds something that is not a column.',
    who: 'tenant',
    how: 'Select columns, `column AS name`, or `*`; compute expressions in the client.',
    retry: 'wait',
    status: 422,
  },
  RULES_TABLE_UNKNOWN: {
    what: 'A query names a table that the source does not have, or that its role cannot see.',
    who: 'tenant',
    how: 'Correct the name, add the schema, or grant SELECT on the table.',
    retry: 'wait',
    status: 422,
  },
  RULES_TABLE_UNSUPPORTED: {
    what: 'A query reads something that logical replication does not publish as a table of its own.',
    who: 'tenant',
    how: 'Read an ordinary, logged table; views, foreign, unlogged, temporary and partitioned tables cannot be synced.',
    retry: 'wait',
    status: 422,
  },
  RULES_TABLE_NO_KEY: {
    what: 'A table has no primary key by which its rows could be told apart.',
    who: 'tenant',
    how: 'Add one: ALTER TABLE {table} ADD PRIMARY KEY (...).',
    retry: 'wait',
    status: 422,
  },
  RULES_KEY_NOT_SELECTED: {
    what: 'The select list leaves out a column of the primary key.',
    who: 'tenant',
    how: 'Select every primary key column; clients store rows by them.',
    retry: 'wait',
    status: 422,
  },
  RULES_KEY_UNSUPPORTED: {
    what: 'A primary key column has a type whose equal values can have different forms in SQLite.',
    who: 'tenant',
    how: 'Use a key of an integer, uuid, text or other exactly compared type.',
    retry: 'wait',
    status: 422,
  },
  RULES_COLUMN_UNKNOWN: {
    what: 'A query names a column that its table does not have.',
    who: 'tenant',
    how: 'Correct the name; the diagnostic suggests the nearest one.',
    retry: 'wait',
    status: 422,
  },
  RULES_COLUMN_GENERATED: {
    what: 'A query uses a generated column, which logical replication does not carry.',
    who: 'tenant',
    how: 'Leave it out and compute it in the client, or keep it in an ordinary column by a trigger.',
    retry: 'wait',
    status: 422,
  },
  RULES_COLUMN_DUPLICATE: {
    what: 'Two selected columns have one name in SQLite, where case does not tell names apart.',
    who: 'tenant',
    how: 'Rename one of them with AS.',
    retry: 'wait',
    status: 422,
  },
  RULES_TABLE_CONFLICT: {
    what: 'Two streams feed one client table with different tables or columns.',
    who: 'tenant',
    how: 'Select the same columns of the same table in both streams, or give one of them another `table`.',
    retry: 'wait',
    status: 422,
  },
});

const conditionCodes = defineCodes({
  RULES_CONDITION_UNSUPPORTED: {
    what: 'WHERE holds a condition that cannot be evaluated exactly as Postgres would.',
    who: 'tenant',
    how: 'Use the conditions in the sync rules reference: equality with claims and constants, IN, IS NULL, AND, OR, NOT.',
    retry: 'wait',
    status: 422,
  },
  RULES_FUNCTION_UNKNOWN: {
    what: 'A query calls a function that rules do not have, or calls one wrongly.',
    who: 'tenant',
    how: "Only auth.user_id() and auth.claim('name', ...) can be called.",
    retry: 'wait',
    status: 422,
  },
  RULES_COMPARISON_UNSUPPORTED: {
    what: 'A comparison has a type whose equality is not equality of its text.',
    who: 'tenant',
    how: 'Compare columns of text, integer, uuid, boolean or enum types, with values of the same type.',
    retry: 'wait',
    status: 422,
  },
  RULES_CONSTANT_INVALID: {
    what: 'A constant is not a value of the type it is compared with.',
    who: 'tenant',
    how: 'Write the constant as Postgres prints a value of that type.',
    retry: 'wait',
    status: 422,
  },
  RULES_NULL_COMPARISON: {
    what: 'A comparison with NULL is never true.',
    who: 'tenant',
    how: 'Write IS NULL or IS NOT NULL.',
    retry: 'wait',
    status: 422,
  },
  RULES_SUBQUERY_UNSUPPORTED: {
    what: 'A subquery is not a plain membership lookup.',
    who: 'tenant',
    how: 'Write column IN (SELECT column FROM table WHERE other_column = auth.user_id()), one level deep.',
    retry: 'wait',
    status: 422,
  },
  RULES_TOO_MANY_BRANCHES: {
    what: 'A WHERE has more alternatives, or conditions in one of them, than a stream may have.',
    who: 'tenant',
    how: 'Split the stream, or keep the alternatives in a membership table.',
    retry: 'wait',
    status: 422,
  },
  RULES_NEVER_TRUE: {
    what: 'A WHERE can never be true, so the stream would never hold a row.',
    who: 'tenant',
    how: 'Correct the condition or remove the stream.',
    retry: 'wait',
    status: 422,
  },
  TOO_MANY_BUCKETS: {
    what: 'A session is entitled to more buckets than one session may have.',
    who: 'tenant',
    how: 'Narrow the membership so that one user reaches at most {max} buckets, or sync by a coarser parameter.',
    retry: 'wait',
    status: 422,
    close: 4413,
  },
});

const writesCodes = defineCodes({
  RULES_WRITES_TABLES_MISSING: {
    what: 'The rules let clients write, and the source lacks the tables in which writes are recorded.',
    who: 'tenant',
    how: 'Run the SQL that the diagnostic shows at the source, as an owner of the database, then deploy again.',
    retry: 'wait',
    status: 422,
  },
  RULES_WRITES_TABLE_UNKNOWN: {
    what: 'The rules let clients write a table that no stream feeds.',
    who: 'tenant',
    how: 'Name a table of the clients, as a stream’s `table:` or FROM gives it, or add a stream of it.',
    retry: 'wait',
    status: 422,
  },
  RULES_WRITES_POLICY_UNKNOWN: {
    what: 'A writable table has a policy that there is not.',
    who: 'tenant',
    how: 'Write merge, reject-if-stale, server-wins or insert-only.',
    retry: 'wait',
    status: 422,
  },
});

/** Compiling and resolving sync rules. */
export const rulesCodes = { ...fileCodes, ...queryCodes, ...conditionCodes, ...writesCodes };

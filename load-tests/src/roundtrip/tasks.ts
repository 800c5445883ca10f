import { WRITES_TABLES_SQL } from '@sluice/sync-rules';

const CLAIMS = "current_setting('request.jwt.claims')::jsonb";

/** Rows that one user owns, with row-level security as a tenant would have it. */
export const TASKS_SQL = `
${WRITES_TABLES_SQL}
create role bench_app;
create table tasks (id integer primary key, owner text not null, title text not null, points integer not null);
alter table tasks replica identity full;
alter table tasks enable row level security;
create policy own on tasks to bench_app using (owner = ${CLAIMS} ->> 'sub') with check (owner = ${CLAIMS} ->> 'sub');
grant select, insert, update, delete on tasks to bench_app;
insert into tasks select i, 'ann', md5('title ' || i), 0 from generate_series(1, 1000) i;
`;
export const TASKS_RULES_YAML = `version: 1
streams:
  tasks:
    query: SELECT * FROM tasks WHERE owner = auth.user_id()
writes:
  role: bench_app
  tables:
    tasks: { policy: merge }
`;
export const USER = 'ann';

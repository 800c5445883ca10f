import type { SeededRandom } from '@sluice/testkit';
import type { StreamSpec } from '../stack/rules.ts';
import type { Claims } from '../stack/source-database.ts';

/** Tables of a random history. Rules name only columns that no statement drops or renames; `x1`, `x2` come and go. */
const TABLES_SQL = `
create table teams (id int primary key, name text not null);
create table members (id int primary key, team_id int not null, user_name text not null, role text not null);
create table tasks (
  id int primary key, team_id int, owner text not null, region text, title text not null,
  points float8, done bool not null default false, at timestamptz, body text
);
alter table tasks alter column body set storage external;
create table notes (a int, b text, owner text not null, "Größe" numeric, primary key (a, b));
create table accounts (id int primary key, balance int not null);
insert into teams select i, 'team ' || i from generate_series(1, 4) i;
insert into members values (1, 1, 'ana', 'lead'), (2, 2, 'ana', 'guest'), (3, 2, 'ben', 'lead'), (4, 3, 'cleo', 'lead');
insert into tasks
  select i, 1 + i % 4, ('{ana,ben,cleo,dan}'::text[])[1 + i % 4], ('{north,south,null}'::text[])[1 + i % 3],
    'task ' || i, i / 4.0, i % 5 = 0, now(), case when i % 6 = 0 then repeat('body ' || i, 1000) end
  from generate_series(1, 60) i;
insert into notes select i, 'note ' || i, ('{ana,ben}'::text[])[1 + i % 2], i * 1.10 from generate_series(1, 20) i;
insert into accounts select i, 100 from generate_series(1, 10) i;
`;

/** The tables, each with a replica identity that the random choice gives. */
export function randomTablesSql(random: SeededRandom): string {
  const identities = ['teams', 'members', 'tasks', 'notes', 'accounts'].map(
    (table) => `alter table ${table} replica identity ${random.pick(['full', 'default'])};`,
  );
  return `${TABLES_SQL}${identities.join('\n')}`;
}

const MY_TEAMS = "SELECT team_id FROM members WHERE user_name = auth.user_id() AND role <> 'guest'";
export const RANDOM_STREAMS: readonly StreamSpec[] = [
  {
    name: 'tasks_of_teams',
    table: 'tasks',
    query: `SELECT * FROM tasks WHERE team_id IN (${MY_TEAMS}) OR owner = auth.user_id()`,
  },
  {
    name: 'tasks_of_region',
    table: 'tasks',
    query: "SELECT * FROM tasks WHERE region = auth.claim('region') AND done = false",
  },
  { name: 'teams', table: 'teams', query: `SELECT * FROM teams WHERE id IN (${MY_TEAMS})` },
  {
    name: 'members',
    table: 'members',
    query: 'SELECT id, team_id, role FROM members WHERE user_name = auth.user_id()',
  },
  { name: 'notes', table: 'notes', query: 'SELECT a, b, "Größe" FROM notes WHERE owner = auth.user_id()' },
  { name: 'accounts', table: 'accounts', query: 'SELECT * FROM accounts' },
];

/** A stream that deployments add and drop. */
export const EXTRA_STREAM: StreamSpec = {
  name: 'open_titles',
  table: 'open_titles',
  query: "SELECT id, title FROM tasks WHERE done = false AND region = 'north'",
};

export const RANDOM_USERS: readonly Claims[] = [
  { sub: 'ana' },
  { sub: 'ben', region: 'north' },
  { sub: 'cleo', region: 'south' },
  { sub: 'dan', region: 'nowhere' },
];

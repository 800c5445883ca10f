import type { StreamSpec } from '../stack/rules.ts';

/** Crews see the flights that touch their airports: a flight stands in two airports' buckets. */
export const AIRPORT_TABLES_SQL = `
create table airports (iata text primary key, name text not null);
create table flights (
  id int primary key, origin text not null, destination text not null,
  gate text not null, remark text, captain text
);
alter table flights alter column remark set storage external;
create table assignments (id int primary key, crew_id text not null, airport text not null, duty text not null);
create table accounts (id int primary key, owner text not null, balance int not null);
alter table airports replica identity full;
alter table flights replica identity full;
alter table assignments replica identity full;
alter table accounts replica identity full;
insert into airports select code, code || ' airport' from unnest('{ORD,ATL,LAX,SFO,JFK}'::text[]) code;
insert into flights
  select i, ('{ORD,ATL,LAX,SFO,JFK}'::text[])[1 + i % 5], ('{ORD,ATL,LAX,SFO,JFK}'::text[])[1 + (i / 5) % 5],
    'A' || i % 40, case when i % 3 = 0 then 'remark ' || i end, case when i % 7 = 0 then 'ana' end
  from generate_series(1, 1000) i;
insert into assignments values
  (1, 'ana', 'ORD', 'gate'), (2, 'ana', 'ATL', 'gate'), (3, 'ben', 'ORD', 'gate'), (4, 'ben', 'SFO', 'standby'),
  (5, 'cleo', 'LAX', 'gate');
insert into accounts select i, ('{ana,ben,cleo}'::text[])[1 + i % 3], 100 from generate_series(1, 30) i;
`;

const MY_AIRPORTS = "SELECT airport FROM assignments WHERE crew_id = auth.user_id() AND duty <> 'standby'";
export const AIRPORT_STREAMS: readonly StreamSpec[] = [
  { name: 'airports', table: 'airports', query: 'SELECT * FROM airports' },
  {
    name: 'flights_at_airports',
    table: 'flights',
    query: `SELECT * FROM flights WHERE origin IN (${MY_AIRPORTS}) OR destination IN (${MY_AIRPORTS})`,
  },
  { name: 'flights_as_captain', table: 'flights', query: 'SELECT * FROM flights WHERE captain = auth.user_id()' },
  {
    name: 'assignments',
    table: 'assignments',
    query: 'SELECT * FROM assignments WHERE crew_id = auth.user_id()',
  },
  { name: 'accounts', table: 'accounts', query: 'SELECT * FROM accounts' },
];
export const CREW = ['ana', 'ben', 'cleo', 'dan'] as const;

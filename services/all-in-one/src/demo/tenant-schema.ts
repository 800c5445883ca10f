/**
 * The demo tenant's own database: what a SaaS team would bring. REPLICA IDENTITY FULL is what the preflight asks for.
 * `sluice_replication` is the role that the team hands to Sluice; the app itself goes on as the owner.
 */
export const TENANT_SCHEMA_SQL = `
create table airports (
  iata text primary key,
  name text not null,
  city text,
  state text,
  country text not null,
  latitude double precision not null,
  longitude double precision not null
);
create table flights (
  id integer primary key,
  flight_no text not null,
  origin text not null references airports,
  destination text not null references airports,
  departs_at timestamptz not null,
  distance integer not null,
  delay integer not null,
  gate text not null,
  status text not null,
  remark text
);
create index flights_departs_at on flights (departs_at);
create table crew (
  id text primary key,
  name text not null,
  role text not null
);
create table assignments (
  id integer primary key generated always as identity,
  crew_id text not null references crew,
  airport text not null references airports,
  unique (crew_id, airport)
);
alter table airports replica identity full;
alter table flights replica identity full;
alter table crew replica identity full;
alter table assignments replica identity full;
`;

/** What the preflight's SQL asks a team to run; the password is made at first start. */
export function replicationRoleSql(database: string, quotedPassword: string): string {
  return `
create role sluice_replication login replication password ${quotedPassword};
grant connect, create on database "${database}" to sluice_replication;
grant usage on schema public to sluice_replication;
grant select on all tables in schema public to sluice_replication;
alter default privileges in schema public grant select on tables to sluice_replication;
alter table airports owner to sluice_replication;
alter table flights owner to sluice_replication;
alter table crew owner to sluice_replication;
alter table assignments owner to sluice_replication;
`;
}

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

/**
 * What lets crews write: a role without rights of its own, and row-level security that reads who asks from the claims. Harmless where it
 * stands already, as in a database of an earlier edition.
 */
export const TENANT_WRITES_SQL = `
do $$ begin
  if not exists (select from pg_roles where rolname = 'departures_crew') then create role departures_crew nologin; end if;
end $$;
grant departures_crew to sluice_replication;
grant usage on schema public to departures_crew;
grant select on flights, assignments, crew to departures_crew;
grant update (gate, remark, status) on flights to departures_crew;
create or replace function asking_crew() returns text language sql stable as
  $$ select current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$;
alter table flights enable row level security;
drop policy if exists everybody_reads on flights;
create policy everybody_reads on flights for select using (true);
drop policy if exists crews_write_at_their_airports on flights;
create policy crews_write_at_their_airports on flights for update to departures_crew using (
  exists (select from assignments a where a.crew_id = asking_crew() and a.airport in (flights.origin, flights.destination))
);
create or replace function dispatchers_set_the_status() returns trigger language plpgsql as $$ begin
  if current_user = 'departures_crew' and new.status is distinct from old.status
    and not exists (select from crew c where c.id = asking_crew() and c.role = 'Dispatcher')
  then
    raise exception 'only dispatchers set the status' using errcode = 'insufficient_privilege', column = 'status', table = 'flights';
  end if;
  return new;
end $$;
create or replace trigger dispatchers_set_the_status before update on flights
  for each row execute function dispatchers_set_the_status();
create table if not exists notes (
  id uuid primary key default gen_random_uuid(),
  airport text not null references airports,
  crew_id text not null references crew,
  body text not null check (length(body) between 1 and 200),
  written_at timestamptz not null default now()
);
alter table notes replica identity full;
alter table notes owner to sluice_replication;
grant select, insert, delete on notes to departures_crew;
alter table notes enable row level security;
drop policy if exists everybody_reads on notes;
create policy everybody_reads on notes for select using (true);
drop policy if exists crews_add_at_their_airports on notes;
create policy crews_add_at_their_airports on notes for insert to departures_crew with check (
  crew_id = asking_crew() and exists (select from assignments a where a.crew_id = asking_crew() and a.airport = notes.airport)
);
drop policy if exists crews_delete_their_own on notes;
create policy crews_delete_their_own on notes for delete to departures_crew using (crew_id = asking_crew());
alter table sluice.client owner to sluice_replication;
alter table sluice.refusal owner to sluice_replication;
alter schema sluice owner to sluice_replication;
`;

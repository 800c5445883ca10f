/** A row for each of 200 users, and one that all users share. */
export const ITEMS_SQL = `
create table items (id integer primary key, owner text not null, version integer not null, body text not null);
alter table items replica identity full;
insert into items select i, 'user-' || i, 0, md5('b' || i) from generate_series(0, 199) i;
insert into items values (100000, 'shared', 0, md5('shared'));
`;
export const SHARED_ITEM = 100_000;
export const ITEMS_RULES_YAML = `version: 1
streams:
  items:
    query: SELECT * FROM items WHERE owner = auth.user_id()
`;

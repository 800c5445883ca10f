-- The second wall between tenants (the first is the project in every predicate): a transaction sees and writes only the
-- rows of the project that it has named in sluice.project. Without the setting the cast fails, and so does the statement.
do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'project', 'epoch', 'shard', 'stream', 'snapshot_part', 'chunk', 'membership', 'truncation', 'issue'
  ] loop
    execute format('alter table sluice_store.%I enable row level security', table_name);
    execute format('alter table sluice_store.%I force row level security', table_name);
    execute format(
      'create policy own_project on sluice_store.%I to sluice_store_app '
      'using (project = current_setting(''sluice.project'')::int) '
      'with check (project = current_setting(''sluice.project'')::int)',
      table_name
    );
    execute format('grant select, insert, update, delete on sluice_store.%I to sluice_store_app', table_name);
  end loop;
end
$$;
grant usage on schema sluice_store to sluice_store_app;

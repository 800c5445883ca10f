import { afterAll, beforeAll, expect, it } from 'vitest';
import { Platform } from './platform.ts';

const TABLES = `
create table notes (id int primary key, owner text not null, body text);
alter table notes replica identity full;
insert into notes select i, 'user-' || i % 3, 'note ' || i from generate_series(1, 300) i;
`;
const MY_NOTES = { name: 'my_notes', table: 'notes', query: 'SELECT * FROM notes WHERE owner = auth.user_id()' };

let platform: Platform;
beforeAll(async () => {
  platform = await Platform.start();
  await platform.add('control-plane');
  await Promise.all([platform.add('replicator'), platform.add('bucket-worker'), platform.add('gateway')]);
});
afterAll(async () => await platform?.[Symbol.asyncDispose]());

it('a change reaches a client through four kinds of processes', async () => {
  const customer = await platform.addCustomer('four', TABLES, [MY_NOTES]);
  const client = await customer.connect('user-1');
  await customer.expectEqual(client);
  await customer.source.commit("update notes set body = 'changed' where id = 1", 'delete from notes where id = 4');
  await customer.expectEqual(client);
  expect(await client.sdk.query('select body from notes where id = 1')).toEqual([{ body: 'changed' }]);
});

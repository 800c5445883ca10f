import { once } from 'node:events';
import { startBenchStack } from '../stack.ts';

const TABLES_SQL = `
create table items (id integer primary key, owner text not null, version integer not null, body text not null);
alter table items replica identity full;
insert into items select i, 'user-' || i, 0, md5('b' || i) from generate_series(0, 199) i;
insert into items values (100000, 'shared', 0, md5('shared'));
`;
const RULES_YAML = `version: 1
streams:
  items:
    query: SELECT * FROM items WHERE owner = auth.user_id()
`;

/** The data plane of the latency bench, in a process of its own; ends when the bench lets go of it. */
await using stack = await startBenchStack(TABLES_SQL, RULES_YAML);
process.send?.({
  sourceUrl: stack.sourceUrl,
  gatewayUrl: stack.gatewayUrl,
  tokenSecret: Buffer.from(stack.tokenSecret).toString('base64'),
});
await once(process, 'disconnect');

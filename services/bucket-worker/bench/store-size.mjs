/**
 * What the bucket store takes of a table whose rows have a bucket each, before and after compaction, beside what the table
 * takes in the source. Usage: node bench/store-size.mjs <url of an empty database> [rows]
 */
import { createHash } from 'node:crypto';
import { createPostgresBucketStore, migrateBucketStore } from '@sluice/bucket-store';
import { ByteWriter, barrierAt, Hash64, rowHash, tableSeed, writeCell } from '@sluice/domain';
import { appendDirectoryEntry, appendOp, CODEC_STORED, OP_PUT, writeDirectoryHead } from '@sluice/protocol';
import { systemClock } from '@sluice/telemetry';
import { query } from '@sluice/testkit';
import { compactProject } from '../dist/compact/compact-project.js';

const [url, count = '100000'] = process.argv.slice(2);
const rows = Number(count);
const project = 1;
const PART_ROWS = 2000;
await migrateBucketStore(url);
const sizes = async () => {
  const found = await query(
    url,
    `select relname, pg_relation_size(oid)::bigint as heap, pg_indexes_size(oid)::bigint as index,
      (pg_total_relation_size(oid) - pg_relation_size(oid) - pg_indexes_size(oid))::bigint as toast
    from pg_class
    where relnamespace = 'sluice_store'::regnamespace and relkind = 'r' and pg_total_relation_size(oid) > 65536`,
  );
  const bytesOf = ({ heap, index, toast }) => ({ heap: Number(heap), index: Number(index), toast: Number(toast) });
  return Object.fromEntries(found.map((row) => [row.relname, bytesOf(row)]));
};

const md5 = (text) => createHash('md5').update(text).digest('hex');
const cellsOf = (id) => [
  id,
  id,
  md5(`o${id}`).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
  md5(`t${id}`),
  md5(`b${id}`) + md5(`c${id}`),
  md5(`a${id}`).slice(0, 12),
  `${md5(`e${id}`).slice(0, 16)}@example.com`,
  id * 7919,
  0,
  '2030-01-01 00:00:00.000000+00',
];
await query(
  url,
  `create table source_rows (id bigint primary key, bucket integer not null, org uuid not null,
  title text not null, body text not null, author text not null, email text not null, amount bigint not null,
  version integer not null, created_at timestamptz not null)`,
);
await query(
  url,
  `insert into source_rows select i, i, md5('o' || i)::uuid, md5('t' || i), md5('b' || i) || md5('c' || i),
  left(md5('a' || i), 12), left(md5('e' || i), 16) || '@example.com', i * 7919, 0, now() from generate_series(1, ${rows}) i`,
);
const [source] = await query(url, `select pg_total_relation_size('source_rows')::bigint as bytes`);

const store = createPostgresBucketStore({ url, poolMax: 4 });
const token = await store.acquireLease(project, 'bench', 600_000);
const point = 1000n;
const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
const epoch = await store.openEpoch(project, token, identity, barrierAt(point - 1n), 1);
const shardLeaseToken = await store.acquireShardLease(project, 0, 'bench', 600_000);
const plan = { sourceTable: { schema: 'public', name: 'rows' } };
const [{ stream }] = await store.addStreams(
  project,
  token,
  epoch,
  [{ name: 'rows', contentHash: 'h', plan }],
  point - 1n,
);
await store.setBackfillPoint(project, token, [stream], point);
const seed = tableSeed('rows');
const hash = new Hash64();
function chunkOf(id) {
  const body = new ByteWriter(256);
  let keyBytes = 0;
  cellsOf(id).forEach((cell, i) => {
    writeCell(body, cell);
    if (i === 0) keyBytes = body.length;
  });
  hash.update(body.bytes, body.view, 0, keyBytes, 0);
  const payload = new ByteWriter(256);
  appendOp(payload, OP_PUT, body.bytes, 0, body.length);
  const directory = new ByteWriter(64);
  writeDirectoryHead(directory, 1, point);
  appendDirectoryEntry(directory, { hashLo: hash.lo, hashHi: hash.hi, lsnDelta: 0, seq: 0, keyBytes });
  return {
    ...{ stream, bucket: md5(`bucket ${id}`), ops: 1, rowsDelta: 1, checksumDelta: rowHash(seed, body.take()) },
    ...{ codec: CODEC_STORED, payloadBytes: payload.length, directory: directory.take(), payload: payload.take() },
  };
}
const commit = { project, epoch, leaseToken: token, shard: 0, shardLeaseToken, issues: [], memberships: [] };
const states = { rowStates: undefined };
for (let part = 0, from = 1; from <= rows; part++, from += PART_ROWS) {
  const ids = Array.from({ length: Math.min(PART_ROWS, rows - from + 1) }, (_, i) => from + i);
  const last = from + PART_ROWS > rows;
  const copied = { streams: [stream], pointLsn: point, table: 'public.rows', part, last, chunks: ids.map(chunkOf) };
  await store.applySnapshotPart({ ...commit, ...states, ...copied });
}
let applied = barrierAt(point - 1n);
async function barrier(lsn) {
  const end = barrierAt(lsn);
  const range = { prev: applied, end, endLsn: lsn + 8n, committedAtMs: Number(lsn) * 1000, appliedBefore: applied };
  await store.applyFrame({
    ...commit,
    ...states,
    ...range,
    mapVersion: 1,
    streams: [stream],
    chunks: [],
    truncates: [],
  });
  applied = end;
}
await barrier(point);
await store.switchStreams(project, token, epoch, { show: [stream], drop: [] });
await barrier(point + 1n);
const before = await sizes();
const startedMs = performance.now();
const settings = { holder: 'bench', retentionMs: 0, readableMs: 0, bucketsMax: 2000, bytesMax: 1 << 20 };
for await (const _ of compactProject({ store, clock: systemClock, project }, settings, { thoroughAt: undefined }));
const tookMs = performance.now() - startedMs;
await query(url, 'vacuum (analyze) sluice_store.chunk');
await query(url, 'vacuum (analyze) sluice_store.pack');
const vacuumed = await sizes();
await store.giveBackSpace(new AbortController().signal);
const after = await sizes();
const total = (of) => Object.values(of).reduce((sum, { heap, index, toast }) => sum + heap + index + toast, 0);
const ratio = (of) => Number((total(of) / Number(source.bytes)).toFixed(3));
const ratios = { before: ratio(before), vacuumed: ratio(vacuumed), givenBack: ratio(after) };
const result = { rows, sourceBytes: Number(source.bytes), tookMs: Math.round(tookMs), before, vacuumed, after, ratios };
process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
await store.close();

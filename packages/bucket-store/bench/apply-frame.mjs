// What one frame costs the Postgres store: `node packages/bucket-store/bench/apply-frame.mjs postgres://...`.
// The database is migrated, and project 900001 in it is erased and written to.
import { randomBytes, randomInt } from 'node:crypto';
import { SEQ_BARRIER } from '@sluice/domain';
import { createPostgresBucketStore, migrateBucketStore } from '../dist/index.js';

const url = process.argv[2];
if (!url) throw new Error('usage: node apply-frame.mjs <database url>');
const rowBytes = 215;
const directoryBytesPerOp = 14;
const project = 900001;

await migrateBucketStore(url);
const store = createPostgresBucketStore({ url, poolMax: 2 });
await store.eraseProject(project);
const token = await store.acquireLease(project, 'bench', 60_000_000);
const shardLeaseToken = await store.acquireShardLease(project, 0, 'bench', 60_000_000);
const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
let applied = { lsn: 1n, seq: SEQ_BARRIER };
const epoch = await store.openEpoch(project, token, identity, applied, 1);
const [stream] = await store.addStreams(project, token, epoch, [{ name: 's', contentHash: 'h', plan: {} }], 1n);

async function frame(buckets, opsPerBucket) {
  const end = { lsn: applied.lsn + 1000n, seq: SEQ_BARRIER };
  const ids = Array.from({ length: buckets }, (_, i) => i.toString(16).padStart(32, '0'));
  const chunks = ids.map((bucket) => ({
    stream: stream.stream,
    bucket,
    ops: opsPerBucket,
    rowsDelta: opsPerBucket,
    checksumDelta: BigInt(randomInt(2 ** 40)),
    codec: 0,
    payloadBytes: rowBytes * opsPerBucket,
    directory: randomBytes(directoryBytesPerOp * opsPerBucket),
    payload: randomBytes(rowBytes * opsPerBucket),
  }));
  const cpu = process.cpuUsage();
  const begun = performance.now();
  const outcome = await store.applyFrame({
    project,
    epoch,
    shard: 0,
    mapVersion: 1,
    leaseToken: token,
    shardLeaseToken,
    prev: applied,
    end,
    endLsn: end.lsn + 8n,
    committedAtMs: 1,
    appliedBefore: applied,
    streams: [stream.stream],
    chunks,
    memberships: [],
    truncates: [],
    issues: [],
  });
  const ms = performance.now() - begun;
  if (outcome.kind !== 'applied') throw new Error(outcome.kind);
  applied = end;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000 };
}
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

for (const [buckets, ops, rounds] of [
  [1, 1, 500],
  [100, 1, 100],
  [1000, 20, 40],
  [1000, 64, 15],
  [1, 20000, 10],
  [20000, 1, 10],
]) {
  const times = [];
  for (let i = 0; i < rounds; i++) times.push(await frame(buckets, ops));
  const ms = median(times.map((time) => time.ms));
  const cpuMs = median(times.map((time) => time.cpuMs));
  process.stdout.write(
    `${buckets} chunks of ${ops} ops: median ${ms.toFixed(2)} ms, ${Math.round((buckets * ops) / (ms / 1000))} rows/s; ${((cpuMs * 1000) / (buckets * ops)).toFixed(2)} us CPU a row in this process\n`,
  );
}
await store.eraseProject(project);
await store.close();

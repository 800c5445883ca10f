// What evaluating a frame costs, without queue or store: `node services/bucket-worker/bench/evaluate.mjs`.
// CPU time, so that neighbours on the machine matter little. Rows of ten columns and about 200 bytes of text that does not repeat, in 1,000 buckets.
import { createHash } from 'node:crypto';
import { ByteWriter, SEQ_BARRIER } from '@sluice/domain';
import { appendRecord, appendTransactionRecord } from '@sluice/op-queue';
import { appendRelationMessage } from '@sluice/pgoutput';
import { createFrameEvaluator } from '../dist/index.js';

const buckets = 1000;
const text = new TextEncoder();
const md5 = (value) => createHash('md5').update(value).digest('hex');
const int8 = 20;
const int4 = 23;
const textOid = 25;
const columns = [
  ['id', int8],
  ['bucket', int4],
  ['org', 2950],
  ['title', textOid],
  ['body', textOid],
  ['author', textOid],
  ['email', textOid],
  ['amount', int8],
  ['version', int4],
  ['created_at', 1184],
].map(([name, typeOid]) => ({ name, typeOid, typmod: -1 }));
const plan = {
  version: 1,
  name: 'rows',
  sourceTable: { schema: 'public', name: 'bench_rows' },
  table: {
    name: 'bench_rows',
    keyColumns: 1,
    columns: columns.map((source) => ({
      name: source.name,
      sqliteType: 'TEXT',
      pgType: '',
      source,
      baseTypeOid: source.typeOid,
    })),
  },
  buckets: [
    {
      filters: [],
      claimFilters: [],
      params: [{ column: columns[1], type: 'int', from: { kind: 'claim', claim: { path: ['b'] } } }],
    },
  ],
  memberships: [],
  contentHash: 'h',
};
const stream = {
  stream: 1,
  epoch: 1,
  name: 'rows',
  contentHash: 'h',
  plan,
  activatedAt: 0n,
  backfillPoint: undefined,
  loadedTables: [],
  visibleAfter: undefined,
  droppedAfter: undefined,
};

const uuid = (hex) =>
  [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
function values(id, version) {
  return [
    `${id}`,
    `${id % buckets}`,
    uuid(md5(`o${id}`)),
    md5(`t${id}${version}`),
    md5(`b${id}`) + md5(`c${id}`),
    md5(`a${id}`).slice(0, 12),
    `${md5(`e${id}`).slice(0, 16)}@example.com`,
    `${id * 7919}`,
    `${version}`,
    '2026-01-02 03:04:05.678901+00',
  ];
}
function tuple(out, fields) {
  out.reserve(2);
  out.view.setInt16(out.length, fields.length);
  out.length += 2;
  for (const field of fields) {
    const bytes = text.encode(field);
    out.u8(0x74);
    out.reserve(4);
    out.view.setInt32(out.length, bytes.length);
    out.length += 4;
    out.raw(bytes);
  }
}
function message(kind, write) {
  const out = new ByteWriter(512);
  out.u8(kind.charCodeAt(0));
  out.raw(Uint8Array.of(0, 0, 0, 99));
  write(out);
  return out.take();
}
const insert = (id) =>
  message('I', (out) => {
    out.u8(0x4e);
    tuple(out, values(id, 0));
  });
const update = (id) =>
  message('U', (out) => {
    out.u8(0x4f);
    tuple(out, values(id, 0));
    out.u8(0x4e);
    tuple(out, values(id, 1));
  });

function frame(rows, one) {
  const out = new ByteWriter(1 << 24);
  appendTransactionRecord(out, { commitLsn: 1000n, committedAtUs: 0n, ordinal: 1 });
  const relation = new ByteWriter();
  appendRelationMessage(relation, {
    oid: 99,
    schema: 'public',
    name: 'bench_rows',
    replicaIdentity: 'f',
    columns: columns.map((column) => ({ ...column, key: true })),
  });
  appendRecord(out, relation.take());
  for (let i = 0; i < rows; i++) appendRecord(out, one(i));
  return {
    kind: 'stream',
    project: 1,
    epoch: 1,
    shard: 0,
    mapVersion: 1,
    leaseToken: 1n,
    prev: { lsn: 1n, seq: SEQ_BARRIER },
    end: { lsn: 1000n, seq: SEQ_BARRIER },
    endLsn: 1008n,
    committedAtMs: 0,
    changes: out.take(),
  };
}

const evaluator = createFrameEvaluator([stream]);
const loads = [
  { name: 'inserts', rows: 20_000, one: insert },
  { name: 'inserts', rows: 64_000, one: insert },
  { name: 'updates', rows: 20_000, one: update },
  { name: 'inserts', rows: 1, one: insert },
];
for (const { name, rows, one } of loads) {
  const sample = frame(rows, one);
  const times = [];
  for (let round = 0; round < (rows === 1 ? 2000 : 15); round++) {
    const begun = process.cpuUsage();
    const result = evaluator.evaluate(sample, { lsn: 1n, seq: SEQ_BARRIER });
    const { user, system } = process.cpuUsage(begun);
    times.push((user + system) / 1000);
    result.release();
  }
  const ms = times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
  process.stdout.write(
    `${rows} ${name}: ${ms.toFixed(3)} ms, ${((ms * 1000) / rows).toFixed(2)} us/row, ${Math.round(rows / (ms / 1000))} rows/s\n`,
  );
}

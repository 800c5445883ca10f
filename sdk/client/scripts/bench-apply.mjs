/**
 * Measures applying in memory: rows a second of one large checkpoint (10 columns, about 200 bytes, random text keys), the
 * same rows again as updates, and the cost of a checkpoint with one row. Prints CPU time, which other load distorts
 * less than wall time. Needs a build.
 */
import { randomUUID } from 'node:crypto';
import { ByteWriter, rowHash, tableSeed, writeCell } from '@sluice/domain';
import { appendOp } from '@sluice/protocol';
import initialize from '@sqlite.org/sqlite-wasm';
import { SqliteModule } from '../dist/core/sqlite/module.js';
import { memoryStorage } from '../dist/core/storage.js';
import { Replica } from '../dist/core/store/replica.js';

const ROWS = Number(process.argv[2] ?? 100_000);
const CHECKPOINTS = 10_000;
const PAYLOAD_BYTES = 256 * 1024;
const BUCKET = '0'.repeat(32);
const names = ['id', 'a', 'b', 'c', 'd', 'e', 'f', 'x', 'y', 'z'];
const table = {
  name: 'items',
  keyColumns: 1,
  columns: names.map((name) => ({ name, sqliteType: name >= 'x' ? 'INTEGER' : 'TEXT', pgType: '' })),
};
const keys = Array.from({ length: ROWS }, () => randomUUID());
const seed = tableSeed(table.name);

const module = new SqliteModule(await initialize());
const replica = new Replica(memoryStorage(module, undefined).open(), {
  project: 'bench',
  newClientId: 'bench',
  bufferedBytesMax: 2 ** 31,
  onStep: undefined,
});
replica.announce([table], [{ stream: 1, name: 'items', table: table.name }]);

let lsn = 0;
const first = content(0, ROWS);
report('insert, rows/s', ROWS, () => checkpoint(first, true));
const second = content(1, ROWS);
report('update, rows/s', ROWS, () => checkpoint(second, false));
const small = Array.from({ length: CHECKPOINTS }, (_, i) => content(i, 1));
// What the other rows add to the sum stays the same; only the first row changes.
const rest = BigInt.asUintN(64, second.checksum - content(1, 1).checksum);
for (const item of small) Object.assign(item, { checksum: BigInt.asUintN(64, rest + item.checksum), rows: ROWS });
report('checkpoints of one row/s', CHECKPOINTS, () => {
  for (const item of small) checkpoint(item, false);
});
report('verify, rows/s', ROWS, () => replica.verify());

/** @param {number} version @param {number} rows */
function content(version, rows) {
  const chunks = [];
  const row = new ByteWriter(1024);
  const payload = new ByteWriter(2 * PAYLOAD_BYTES);
  let checksum = 0n;
  let ops = 0;
  for (let i = 0; i < rows; i++) {
    row.reset();
    writeCell(row, keys[i]);
    for (let column = 0; column < 6; column++) writeCell(row, `text ${version} of row ${i} ${column}`.padEnd(24, '.'));
    for (const value of [i, version, 1_700_000_000_000 + i]) writeCell(row, value);
    checksum = BigInt.asUintN(64, checksum + rowHash(seed, row.written()));
    appendOp(payload, 1, row.bytes, 0, row.length);
    ops++;
    if (payload.length < PAYLOAD_BYTES && i < rows - 1) continue;
    chunks.push({ type: 'chunk', no: 1, codec: 0, ops, payloadBytes: payload.length, payload: payload.take() });
    payload.reset();
    ops = 0;
  }
  return { chunks, checksum, rows };
}

/** @param {{ chunks: object[], checksum: bigint, rows: number }} item @param {boolean} isFirst */
function checkpoint({ chunks, checksum, rows }, isFirst) {
  const announced = [{ no: 1, bucket: BUCKET, stream: 1 }];
  const pending = replica.begin({
    type: 'checkpoint',
    epoch: 1,
    lsn: BigInt(++lsn),
    committedAtMs: 0,
    reset: isFirst,
    drop: [],
    replace: isFirst ? announced : [],
    extend: isFirst ? [] : announced,
    totalOps: 0,
    totalBytes: 0,
  });
  for (const chunk of chunks) pending.add(chunk);
  replica.apply({ pending, sums: [{ no: 1, checksum, rows }], nowMs: 0, onProgress: () => undefined });
}

/** @param {string} label @param {number} count @param {() => void} work */
function report(label, count, work) {
  const before = process.cpuUsage();
  const start = performance.now();
  work();
  const cpu = process.cpuUsage(before);
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  const wallSeconds = (performance.now() - start) / 1000;
  const rates = [count / wallSeconds, count / cpuSeconds].map(Math.round);
  process.stdout.write(`${label}: ${rates[0]} by wall time, ${rates[1]} by CPU time\n`);
}

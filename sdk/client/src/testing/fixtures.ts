import { type BucketId, parseStreamNo } from '@sluice/domain';
import type { StreamSchema, TableSchema } from '@sluice/protocol';
import { bucketId, type ModelCell, type ModelRow, ModelSource } from './model-source.ts';
import type { Random } from './random.ts';

export const NOTES: TableSchema = {
  name: 'notes',
  keyColumns: 1,
  columns: [
    { name: 'id', sqliteType: 'INTEGER', pgType: 'int8' },
    { name: 'title', sqliteType: 'TEXT', pgType: 'text' },
    { name: 'score', sqliteType: 'ANY', pgType: 'float8' },
    { name: 'body', sqliteType: 'BLOB', pgType: 'bytea' },
    { name: 'count', sqliteType: 'INTEGER', pgType: 'int8' },
  ],
};
/** A composite key, every column a key, and names that must be quoted. */
export const LINKS: TableSchema = {
  name: 'my "links"',
  keyColumns: 2,
  columns: [
    { name: 'from id', sqliteType: 'TEXT', pgType: 'uuid' },
    { name: 'ünïcode', sqliteType: 'INTEGER', pgType: 'int4' },
  ],
};
export const STREAMS: StreamSchema[] = [
  { stream: parseStreamNo(1), name: 'own_notes', table: NOTES.name },
  { stream: parseStreamNo(2), name: 'shared_notes', table: NOTES.name },
  { stream: parseStreamNo(3), name: 'links', table: LINKS.name },
];
/** Buckets 1 to 6 hold notes by two streams, 7 and 8 hold links. */
export const BUCKETS: readonly BucketId[] = [1, 2, 3, 4, 5, 6, 7, 8].map(bucketId);

export function newSource(): ModelSource {
  const source = new ModelSource([NOTES, LINKS], STREAMS);
  for (const [index, bucket] of BUCKETS.entries()) source.addBucket(bucket, index < 3 ? 1 : index < 6 ? 2 : 3);
  return source;
}

const INTEGERS = [
  0n,
  1n,
  -1n,
  127n,
  128n,
  -129n,
  32768n,
  2n ** 31n,
  -(2n ** 31n) - 1n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const FLOATS = [0, -0, 1, 0.1, -1e300, 5e-324, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 60];
const TEXTS = [
  '',
  'NaN',
  'plain',
  'ünïcödé 😀',
  'x'.repeat(95),
  'y'.repeat(96),
  'z'.repeat(5000),
  '\uFEFFbom',
  "quo'te",
];

export function cell(value: ModelCell['value'], isFloat = false): ModelCell {
  return { value, isFloat };
}
export function randomNote(random: Random, id: bigint | number): ModelRow {
  const body = Uint8Array.from({ length: random.pick([0, 1, 31, 32, 300]) }, () => random.int(256));
  const score = random.chance(0.5) ? cell(random.pick(FLOATS), true) : cell(random.pick([null, 'NaN', 7n, 'text']));
  return [
    cell(BigInt(id)),
    cell(random.chance(0.1) ? null : random.pick(TEXTS)),
    score,
    cell(random.chance(0.2) ? null : body),
    cell(random.pick(INTEGERS)),
  ];
}
export function randomLink(random: Random): ModelRow {
  return [cell(`from-${random.int(10)}`), cell(BigInt(random.int(5)))];
}

/** A few frames of random changes to rows and to who holds them. */
export function mutate(source: ModelSource, random: Random, frames: number, changes: number): void {
  for (let i = 0; i < frames; i++) {
    source.beginFrame();
    for (let j = 0; j < changes; j++) {
      if (random.chance(0.75)) {
        const id = random.chance(0.1) ? random.pick(INTEGERS) : BigInt(random.int(40));
        source.set(NOTES.name, randomNote(random, id), random.subset(BUCKETS.slice(0, 6), 0.3));
      } else source.set(LINKS.name, randomLink(random), random.subset(BUCKETS.slice(6), 0.4));
    }
  }
}

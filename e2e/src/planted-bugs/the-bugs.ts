// biome-ignore-all lint/suspicious/noTemplateCurlyInString: texts of modules
import { edit, type PlantedBug } from './planted-bug.ts';

const WORKER = 'services/bucket-worker/dist/apply';
const STORE_SQL = 'packages/bucket-store/src/sql';
const REPLICATOR = 'services/replicator/dist';
const GATEWAY = 'services/gateway/dist';
const RULES = 'packages/sync-rules/dist';
/** A bundle, which is what other packages load. */
const CLIENT = 'sdk/client/dist/core.js';

const inWorker: readonly PlantedBug[] = [
  {
    name: 'a deleted row stays in its bucket',
    law: 'L6',
    scenario: 'history',
    edits: [
      edit(
        `${WORKER}/row-changes.js`,
        'for (let i = 0; i < image.count; i++)\n            this.removeFrom(',
        'for (let i = image.count; i < image.count; i++)\n            this.removeFrom(',
      ),
    ],
  },
  {
    name: 'a row that moves stays in its old bucket',
    law: 'L6',
    scenario: 'history',
    edits: [
      edit(
        `${WORKER}/row-changes.js`,
        'for (let i = 0; i < old.count; i++) {',
        'for (let i = old.count; i < old.count; i++) {',
      ),
    ],
  },
  {
    name: 'a remove is counted and not written',
    law: 'L9',
    scenario: 'history',
    edits: [edit(`${WORKER}/row-changes.js`, 'bucket.ops.push(op);\n        bucket.rows--;', 'bucket.rows--;')],
  },
  {
    name: 'a TRUNCATE voids nothing that was stored before',
    law: 'L8',
    scenario: 'history',
    edits: [
      edit(`${WORKER}/evaluate-frame.js`, 'this.members.truncate(state, undefined, position);', ''),
      edit(
        `${WORKER}/evaluate-frame.js`,
        'this.members.truncate(state, set, position);\n            if (!this',
        'if (set !== undefined)\n                this.members.truncate(state, set, position);\n            if (!this',
      ),
    ],
  },
  {
    name: 'a membership that ends is not ended',
    law: 'L12',
    scenario: 'history',
    isRare: true,
    edits: [
      edit(
        `${WORKER}/membership-changes.js`,
        'if (entries.old)\n            this.write(',
        'if (entries.old && entries.new)\n            this.write(',
      ),
    ],
  },
  {
    name: 'the first row of a frame that goes on within a transaction is skipped',
    law: 'L3',
    scenario: 'history in small frames',
    isRare: true,
    edits: [
      edit(
        `${WORKER}/evaluate-frame.js`,
        'return Math.floor(applied.seq / SEQ_PER_ORDINAL);',
        'return Math.floor(applied.seq / SEQ_PER_ORDINAL) + 1;',
      ),
    ],
  },
  {
    name: 'a row of a copy overwrites what was streamed since',
    law: 'L10',
    scenario: 'copy under load',
    edits: [
      edit(
        `${WORKER}/row-state/row-tracker.js`,
        "const isUnknown = state === undefined || (state.kind === 'partial' && !isNewer(state, at));",
        'const isUnknown = true;',
      ),
    ],
  },
  {
    name: 'a row that is deleted while it is copied leaves no tombstone',
    law: 'L7, L10',
    scenario: 'copy under load',
    isRare: true,
    edits: [edit(`${WORKER}/row-state/row-tracker.js`, 'table.state.isLoading ? tombstone : undefined', 'undefined')],
  },
];

const inStore: readonly PlantedBug[] = [
  {
    name: 'a frame is applied wherever it begins',
    law: 'L3',
    scenario: 'history over unruly queues',
    isRare: true,
    edits: [
      edit(
        `${STORE_SQL}/0013_shard_map.sql`,
        'if (p_prev_lsn, p_prev_seq) > (applied_lsn, applied_seq)\n    or (p_before_lsn',
        'if (p_before_lsn',
      ),
      // The worker looks before it asks the store.
      edit(
        `${WORKER}/shard-applier.js`,
        'return comparePositions(frame.prev, applied) <= 0 && comparePositions(frame.end, applied) > 0;',
        'return comparePositions(frame.end, applied) > 0;',
      ),
    ],
  },
  {
    name: 'what is applied again counts again',
    law: 'L3',
    scenario: 'history over unruly queues',
    edits: [
      edit(
        `${STORE_SQL}/0013_shard_map.sql`,
        'if (p_end_lsn, p_end_seq) <= (applied_lsn, applied_seq) then\n    outcome := 1;',
        'if false then\n    outcome := 1;',
      ),
      edit(`${STORE_SQL}/0013_shard_map.sql`, 'or (p_before_lsn, p_before_seq) <> (applied_lsn, applied_seq)', ''),
      edit(`${WORKER}/shard-applier.js`, 'comparePositions(frame.end, state.applied) <= 0', 'false'),
      edit(
        `${WORKER}/shard-applier.js`,
        'return comparePositions(frame.prev, applied) <= 0 && comparePositions(frame.end, applied) > 0;',
        'return comparePositions(frame.prev, applied) <= 0;',
      ),
    ],
  },
  {
    name: 'a frame of an older lease and shard map is applied',
    law: 'L3, L4',
    scenario: 'stale frames',
    edits: [
      edit(
        `${STORE_SQL}/0013_shard_map.sql`,
        'if not found or shard_row.lease_token <> p_token or shard_row.map_version <> p_map_version then',
        'if not found then',
      ),
    ],
  },
  {
    name: 'one shard at a barrier makes a checkpoint',
    law: 'L4',
    scenario: 'sharded history',
    edits: [edit(`${STORE_SQL}/0013_shard_map.sql`, 'having count(*) = epoch_row.shards', 'having count(*) >= 1')],
  },
  {
    name: 'a TRUNCATE of a membership table revokes nothing',
    law: 'L8, L12',
    scenario: 'history',
    isRare: true,
    edits: [
      edit(
        `${STORE_SQL}/0011_compaction.sql`,
        'and m.lsn <= p_through and (m.lsn, m.seq) >= (f.lsn, f.seq)',
        'and m.lsn <= p_through',
      ),
    ],
  },
  {
    name: 'compaction joins chunks that a TRUNCATE has voided',
    law: 'L5',
    scenario: 'truncate and compact',
    edits: [
      edit(
        `${STORE_SQL}/0014_deflated_packs.sql`,
        'where (c.lsn, c.seq) >= (f.lsn, f.seq)\n    order by w.bucket, c.lsn, c.seq, c.part;',
        'order by w.bucket, c.lsn, c.seq, c.part;',
      ),
    ],
  },
];

const inCompaction: readonly PlantedBug[] = [
  {
    name: 'compaction keeps the oldest op of a row',
    law: 'L5',
    scenario: 'compacted history',
    edits: [
      edit(
        'services/bucket-worker/dist/compact/fold-chunks.js',
        'const newest = [...kept].reverse().map(',
        'const newest = [...kept].map(',
      ),
      edit('services/bucket-worker/dist/compact/fold-chunks.js', 'newest.reverse();', ''),
    ],
  },
];

const inReplicator: readonly PlantedBug[] = [
  {
    name: 'the last durable commit is confirmed, and not the one before',
    law: 'L2',
    scenario: 'history',
    edits: [
      edit(
        `${REPLICATOR}/progress/applied-tracker.js`,
        'this.confirmedLsn = this.lastEndLsn;',
        'this.confirmedLsn = frame.endLsn;',
      ),
    ],
  },
  {
    name: 'what was received is confirmed',
    law: 'L2',
    scenario: 'history',
    edits: [
      edit(`${REPLICATOR}/source/standby-status.js`, 'const flushed = confirmed();', 'const flushed = received();'),
    ],
  },
  {
    name: 'a full frame within a transaction ends at a barrier',
    law: 'L4',
    scenario: 'history in small frames',
    isRare: true,
    edits: [
      edit(
        `${REPLICATOR}/assemble/assembler.js`,
        'seq: this.ordinal * SEQ_PER_ORDINAL + SEQ_PER_ORDINAL - 1 }',
        'seq: barrierAt(this.commitLsn).seq }',
      ),
    ],
  },
  {
    name: 'frames of one transaction are sent as they were cut',
    law: 'L13',
    scenario: 'history in small frames',
    edits: [
      edit(
        `${GATEWAY}/feed/project-feed.js`,
        'return !isBarrier(position) &&',
        'return isBarrier(position) && false &&',
      ),
    ],
  },
  {
    name: 'a row that changes shards is not removed from the old one',
    law: 'L4, L6',
    scenario: 'sharded history',
    edits: [
      edit(`${REPLICATOR}/shard/split-changes.js`, 'appendRecord(this.place(shards.from, relation), removal);', ''),
    ],
  },
  {
    name: 'a TRUNCATE is told to the first shard alone',
    law: 'L4, L8',
    scenario: 'sharded history',
    edits: [
      edit(
        `${REPLICATOR}/shard/split-changes.js`,
        "assert(message.kind === 'truncate', 'a TRUNCATE message is one');\n        for (let shard = 0; shard < this.map.shards; shard++) {",
        'for (let shard = 0; shard < 1; shard++) {',
      ),
    ],
  },
];

const inQueue: readonly PlantedBug[] = [
  {
    name: 'the last record of a frame is not read',
    law: 'L3',
    scenario: 'history',
    edits: [
      edit(
        'packages/op-queue/dist/records.js',
        'visit(changes[at], at, at + size);',
        'if (at + size < length || at === 4)\n            visit(changes[at], at, at + size);',
      ),
    ],
  },
];

const inGateway: readonly PlantedBug[] = [
  {
    name: 'a client resumes where the store is, and not where it was',
    law: 'L12',
    scenario: 'history',
    edits: [
      edit(
        `${GATEWAY}/sync-cursor.js`,
        'const span = { after: before.lsn, through: served.checkpoint.lsn };\n        const [held',
        'const span = { after: served.checkpoint.lsn, through: served.checkpoint.lsn };\n        const [held',
      ),
    ],
  },
  {
    name: 'a checkpoint brings the changes of all buckets but one',
    law: 'L12',
    scenario: 'history',
    edits: [
      edit(
        `${GATEWAY}/feed/plan-step.js`,
        'extend: [...changed].filter((bucket) => held.has(bucket)) };',
        'extend: [...changed].filter((bucket) => held.has(bucket)).slice(0, Math.max(1, changed.size - 1)) };',
      ),
    ],
  },
  {
    name: 'one user is sent the page of another',
    law: 'L13',
    scenario: 'history',
    edits: [
      edit(
        `${GATEWAY}/feed/project-feed.js`,
        'const stretch = `${this.project}:${bucket}:${known.no}:${from}-${to}`;',
        'const stretch = `${this.project}:${from}-${to}`;',
      ),
    ],
  },
  {
    name: 'a grant that was broken in between counts as unbroken',
    law: 'L13',
    scenario: 'broken grants',
    edits: [edit(`${GATEWAY}/feed/plan-step.js`, '!held.has(bucket) || broken.has(bucket) ||', '!held.has(bucket) ||')],
  },
];

const inRules: readonly PlantedBug[] = [
  {
    name: 'guests are members',
    law: 'L6, L13',
    scenario: 'history',
    isRare: true,
    edits: [
      edit(`${RULES}/bind-membership.js`, 'if (!satisfies(filters, src, slots))', 'if (!satisfies([], src, slots))'),
    ],
  },
  {
    name: 'rows that a stream leaves out are in its buckets',
    law: 'L6, L13',
    scenario: 'history',
    edits: [edit(`${RULES}/bind-row.js`, 'if (!satisfies(filters, src, slots))', 'if (!satisfies([], src, slots))')],
  },
];

const inClient: readonly PlantedBug[] = [
  {
    name: 'a row goes when the first of its buckets lets go',
    law: 'L12',
    scenario: 'history',
    isRare: true,
    edits: [edit(CLIENT, 'if (holders.length > 0) {', 'if (holders.length > 9) {')],
  },
  {
    name: 'a client commits each chunk',
    law: 'L12',
    scenario: 'full disk',
    edits: [
      edit(
        CLIENT,
        'this.#input.onStep("chunk", this.#ops);',
        'this.#db.run("COMMIT");\n    this.#db.run("BEGIN IMMEDIATE");\n    this.#input.onStep("chunk", this.#ops);',
      ),
    ],
  },
  {
    name: 'a client does not compare sums',
    law: 'L9',
    scenario: 'damaged store',
    edits: [edit(CLIENT, 'if (wrong.size > 0) throw', 'if (wrong.size > 1e9) throw')],
  },
];

export const BUGS: readonly PlantedBug[] = [
  ...inWorker,
  ...inStore,
  ...inCompaction,
  ...inReplicator,
  ...inQueue,
  ...inGateway,
  ...inRules,
  ...inClient,
];

export function bugNamed(name: string): PlantedBug {
  const bug = BUGS.find((candidate) => candidate.name === name);
  if (!bug) throw new RangeError(`there is no planted bug "${name}"`);
  return bug;
}

import type {
  ApplyProgress,
  AuditFindings,
  CheckResult,
  RowExplanation,
  SourceProvisioner,
  StreamPreview,
} from '@sluice/source-steps';
import type { Catalog, CatalogColumn } from '@sluice/sync-rules';

/** A provisioner without a source, for tests of what the control plane does with what one says. */
export interface ScriptedProvisioner extends SourceProvisioner {
  checks: readonly CheckResult[];
  /** Thrown by the next calls of any method, while set. */
  failure: Error | undefined;
  /** What `apply` reports before it resolves. */
  progress: readonly ApplyProgress[];
  /** What `audit` finds. */
  findings: AuditFindings;
  /** What previews and explanations show. */
  streams: readonly StreamPreview[];
  explanation: RowExplanation;
  /** Names of the methods that were called, in order. */
  readonly calls: string[];
}

export function scriptedProvisioner(): ScriptedProvisioner {
  const provisioner: ScriptedProvisioner = {
    checks: [{ check: 'wal_level', ok: true, message: 'wal_level is logical' }],
    failure: undefined,
    progress: [
      { step: 'publication', done: 1, estimate: 1 },
      { step: 'slot', done: 1, estimate: 1 },
      { step: 'snapshot', done: 500, estimate: 1000 },
      { step: 'snapshot', done: 1000, estimate: 1000 },
      { step: 'live', done: 1, estimate: 1 },
    ],
    findings: {
      lsn: '0/1A2B3C4',
      streams: [{ name: 'my_tasks', isEqual: false, served: { buckets: 1, rows: 4 }, source: { buckets: 1, rows: 5 } }],
    },
    streams: [],
    explanation: { isThere: false, row: {}, streams: [] },
    calls: [],
    async preflight() {
      called('preflight');
      return provisioner.checks;
    },
    async catalog() {
      called('catalog');
      return tasksCatalog;
    },
    async estimateRows(_project, tables) {
      called('estimateRows');
      return tables.map(() => 1_200);
    },
    async preview(_project, { version }, { claims, rowsMax }) {
      called(`preview ${version} ${JSON.stringify(claims)} ${rowsMax}`);
      return provisioner.streams;
    },
    async explain(_project, { version }, { claims, table, key }) {
      called(`explain ${version} ${JSON.stringify(claims)} ${table} ${key.join()}`);
      return provisioner.explanation;
    },
    async apply(_project, _rules, onProgress) {
      called('apply');
      for (const progress of provisioner.progress) await onProgress(progress);
    },
    async reshard(_project, shards) {
      called(`reshard ${shards}`);
    },
    async audit() {
      called('audit');
      return provisioner.findings;
    },
    async release() {
      called('release');
    },
  };
  function called(name: string): void {
    provisioner.calls.push(name);
    if (provisioner.failure) throw provisioner.failure;
  }
  return provisioner;
}

/** One table `tasks (id int8 primary key, owner_id text, title text)`. */
const tasksCatalog: Catalog = {
  tables: [
    {
      schema: 'public',
      name: 'tasks',
      oid: 16401,
      kind: 'r',
      persistence: 'permanent',
      replicaIdentity: 'full',
      columns: [column('id', 20, 'bigint', true), column('owner_id', 25, 'text'), column('title', 25, 'text')],
      primaryKey: ['id'],
      identityKey: ['id'],
      hasInheritors: false,
      partitionOf: undefined,
    },
  ],
};

function column(name: string, typeOid: number, pgType: string, notNull = false): CatalogColumn {
  const rest = { typmod: -1, generated: false, nondeterministicCollation: false, typeKind: 'b' };
  return { name, typeOid, pgType, notNull, baseTypeOid: typeOid, ...rest };
}

/** Rules that the catalog above satisfies. */
export const TASKS_RULES =
  'version: 1\nstreams:\n  my_tasks:\n    query: SELECT * FROM tasks WHERE owner_id = auth.user_id()\n';

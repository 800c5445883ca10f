import type { AuditStore, ContentDigest } from '../audit-port.ts';
import type { Database } from './database.ts';
import { lockLease } from './leases.ts';
import { packIssues } from './pack-ops.ts';

interface DigestRow {
  groups: string;
  row_count: string;
  digest: string;
  next: Buffer | null;
}

/** The statements are those of 0012_audit.sql. */
export function auditStoreOf(database: Database): AuditStore {
  return {
    async readDigest(project, { stream, of, through, from, groupsMax }): Promise<ContentDigest> {
      const name = of === 'buckets' ? 'bucket_digest' : 'lookup_digest';
      const { rows } = await database.query<DigestRow>({
        name: `sluice_${name}`,
        text: `select groups, row_count, digest, next from sluice_store.${name}($1, $2, $3, $4, $5)`,
        values: [project, stream, through, Buffer.from(from ?? '', 'hex'), groupsMax],
      });
      const [row] = rows;
      return {
        groups: Number(row?.groups ?? 0),
        rows: Number(row?.row_count ?? 0),
        digest: BigInt.asUintN(64, BigInt(row?.digest ?? 0)),
        next: row?.next ? row.next.toString('hex') : undefined,
      };
    },
    noteIssues: (project, token, issues) =>
      database.transaction(project, async (client) => {
        await lockLease(client, project, token);
        await client.query('select sluice_store.write_issues($1, $2)', [project, packIssues(issues)]);
      }),
  };
}

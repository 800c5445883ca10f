import type { Clock, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type CodedProblem, problemColumns, problemFromColumns } from '../coded-problem.ts';
import type { Prisma, PrismaClient } from '../generated/client.ts';
import { lockActiveProject } from './lock-project.ts';

/** As libpq's sslmode of the same name; `require` encrypts without proving whom it talks to. */
export type TlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full';
/** `ready`: it was reached and passed its checks; `live`: it is being streamed. */
export type SourceState = 'unchecked' | 'ready' | 'live' | 'failed';

export interface SourceAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly tlsMode: TlsMode;
  /** PEM text, or undefined for the system's authorities. */
  readonly tlsCa: string | undefined;
}

export interface SlotNames {
  readonly slotName: string;
  readonly publicationName: string;
}

export interface SourceRecord extends SourceAddress {
  readonly projectId: ProjectId;
  /** Opens only for this project and `revision`. */
  readonly sealedPassword: Uint8Array;
  /** What stands on the source under these names is ours; undefined until a stream was reported. */
  readonly slot: SlotNames | undefined;
  /** As `server_version_num`; undefined until the source was reached. */
  readonly serverVersion: number | undefined;
  readonly state: SourceState;
  readonly problem: CodedProblem | undefined;
  /** Counts the writes of the connection. */
  readonly revision: number;
  readonly updatedAt: Date;
}

/** The one source of each project. */
export class Sources {
  readonly #prisma: PrismaClient;
  readonly #clock: Clock;

  constructor(prisma: PrismaClient, clock: Clock) {
    this.#prisma = prisma;
    this.#clock = clock;
  }

  async find(projectId: ProjectId): Promise<SourceRecord | undefined> {
    const row = await this.#prisma.source.findUnique({ where: { projectId } });
    return row ? sourceFromRow(projectId, row) : undefined;
  }

  /** @throws AppError SOURCE_NOT_SET */
  async get(projectId: ProjectId): Promise<SourceRecord> {
    const record = await this.find(projectId);
    if (!record) throw new AppError('SOURCE_NOT_SET');
    return record;
  }

  /**
   * Sets or replaces the connection. `sealPassword` is given the revision that the sealed text must be bound to. What is
   * known of slot and publication stays: whether another server stands behind the new address is the replicator's to find.
   * @throws AppError PROJECT_NOT_FOUND, PROJECT_DELETING
   */
  async put(
    projectId: ProjectId,
    address: SourceAddress,
    sealPassword: (revision: number) => Promise<Uint8Array>,
  ): Promise<SourceRecord> {
    return await this.#prisma.$transaction(async (tx) => {
      await lockActiveProject(tx, projectId);
      const before = await tx.source.findUnique({ where: { projectId }, select: { revision: true } });
      const revision = (before?.revision ?? 0) + 1;
      const written = {
        host: address.host,
        port: address.port,
        database: address.database,
        username: address.user,
        password: new Uint8Array(await sealPassword(revision)),
        tlsMode: tlsModeColumn[address.tlsMode],
        tlsCa: address.tlsCa ?? null,
        state: 'unchecked' as const,
        serverVersion: null,
        ...problemColumns(undefined),
        revision,
        updatedAt: new Date(this.#clock.nowMs()),
      };
      const row = await tx.source.upsert({
        where: { projectId },
        create: { projectId, ...written },
        update: written,
      });
      return sourceFromRow(projectId, row);
    });
  }

  /**
   * Records what a check or the stream found. Writes nothing when nothing changed, so that nobody is told in vain.
   * Ignored when the connection was replaced since `revision` was read: the finding was about another server.
   */
  async report(projectId: ProjectId, finding: SourceFinding): Promise<void> {
    await writeFinding(this.#prisma, projectId, { ...finding, at: new Date(this.#clock.nowMs()) });
  }
}

/** What a check or the stream found out about the connection of the given revision. */
export interface SourceFinding {
  readonly revision: number;
  readonly state: SourceState;
  readonly problem: CodedProblem | undefined;
  /** As `server_version_num`; undefined leaves what is known. */
  readonly serverVersion: number | undefined;
  /** The slot that is streamed from and its publication; undefined leaves what is known. */
  readonly slot: SlotNames | undefined;
}

/** As Sources.report, inside somebody's transaction. */
export async function writeFinding(
  prisma: Pick<Prisma.TransactionClient, 'source'>,
  projectId: ProjectId,
  { revision, state, problem, serverVersion, slot, at }: SourceFinding & { readonly at: Date },
): Promise<void> {
  const row = await prisma.source.findUnique({ where: { projectId } });
  if (row?.revision !== revision) return;
  const written = {
    state,
    errorCode: problem?.code ?? null,
    serverVersion: serverVersion ?? row.serverVersion,
    slotName: slot?.slotName ?? row.slotName,
    publicationName: slot?.publicationName ?? row.publicationName,
  };
  const isSame =
    row.state === written.state &&
    row.errorCode === written.errorCode &&
    row.serverVersion === written.serverVersion &&
    row.slotName === written.slotName &&
    row.publicationName === written.publicationName;
  if (isSame) return;
  await prisma.source.updateMany({
    where: { projectId, revision },
    data: { ...written, ...problemColumns(problem), updatedAt: at },
  });
}

const tlsModeColumn = {
  disable: 'disable',
  require: 'require',
  'verify-ca': 'verify_ca',
  'verify-full': 'verify_full',
} as const satisfies Record<TlsMode, string>;
const tlsModeFromColumn = {
  disable: 'disable',
  require: 'require',
  verify_ca: 'verify-ca',
  verify_full: 'verify-full',
} as const;

export function sourceFromRow(projectId: ProjectId, row: Prisma.SourceGetPayload<object>): SourceRecord {
  return {
    projectId,
    host: row.host,
    port: row.port,
    database: row.database,
    user: row.username,
    tlsMode: tlsModeFromColumn[row.tlsMode],
    tlsCa: row.tlsCa ?? undefined,
    sealedPassword: row.password,
    slot: slotFromRow(row),
    serverVersion: row.serverVersion ?? undefined,
    state: row.state,
    problem: problemFromColumns(row),
    revision: row.revision,
    updatedAt: row.updatedAt,
  };
}

function slotFromRow({ slotName, publicationName }: Prisma.SourceGetPayload<object>): SlotNames | undefined {
  return slotName === null || publicationName === null ? undefined : { slotName, publicationName };
}

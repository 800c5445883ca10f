import { type Code, unreachable } from '@sluice/errors';
import type { PlannedWrite, Refusal, Statement, WriterSession } from '../model.ts';
import {
  deleteStatement,
  existsStatement,
  insertIfMissingStatement,
  insertStatement,
  updateStatement,
} from './statements.ts';

type TypeNames = Pick<WriterSession, 'typeNameOf'>;

/**
 * Makes one write by its table's policy, as whoever the session is now. Returns why it cannot be made.
 * @throws the driver's error when the database refuses it, or anything else goes wrong
 */
export async function applyWrite(session: WriterSession, write: PlannedWrite): Promise<Refusal | undefined> {
  switch (write.kind) {
    case 'insert':
      return write.table.policy === 'merge' ? insertOrMerge(session, write) : insert(session, write);
    case 'upsert':
      return upsert(session, write);
    case 'update':
      return update(session, write);
    case 'delete':
      return remove(session, write);
    default:
      return unreachable(write.kind);
  }
}

/**
 * For each write the one statement that makes it when all is as its client saw it. Undefined when there is a write for which no
 * single statement does.
 */
export function hopefulStatements(writes: readonly PlannedWrite[], types: TypeNames): Statement[] | undefined {
  const statements: Statement[] = [];
  for (const write of writes) {
    const statement = hopefulStatement(write, types);
    if (!statement) return undefined;
    statements.push({ ...statement, hasRow: true });
  }
  return statements;
}

function hopefulStatement(write: PlannedWrite, types: TypeNames): Statement | undefined {
  const { policy } = write.table;
  const how = { onlyAsSeen: policy !== 'merge' };
  switch (write.kind) {
    case 'insert':
      return policy === 'merge' ? insertIfMissingStatement(write, types) : insertStatement(write, types);
    case 'upsert':
      if (policy === 'insert-only') return insertStatement(write, types);
      return wasSeen(write) ? updateStatement(changedAlone(write), types, how) : insertIfMissingStatement(write, types);
    case 'update':
      return updateStatement(write, types, how);
    case 'delete':
      return deleteStatement(write, types, how);
    default:
      return unreachable(write.kind);
  }
}
function wasSeen({ changes }: PlannedWrite): boolean {
  return changes.some(({ previous }) => previous !== undefined);
}

/** Whether the write is one that a row which appears in the very moment can break, so that a second look is worth it. */
export function mayRaceWithInsert({ kind, table }: PlannedWrite): boolean {
  return (kind === 'insert' && table.policy === 'merge') || (kind === 'upsert' && table.policy !== 'insert-only');
}

async function insert(session: WriterSession, write: PlannedWrite): Promise<undefined> {
  await run(session, insertStatement(write, session));
}

async function insertOrMerge(session: WriterSession, write: PlannedWrite): Promise<Refusal | undefined> {
  if ((await run(session, insertIfMissingStatement(write, session))) > 0) return undefined;
  return update(session, write);
}

async function upsert(session: WriterSession, write: PlannedWrite): Promise<Refusal | undefined> {
  const { policy } = write.table;
  if (policy === 'insert-only') return insert(session, write);
  if (policy === 'merge') return insertOrMerge(session, write);
  if (await exists(session, write)) return update(session, write);
  return insert(session, write);
}

async function update(session: WriterSession, whole: PlannedWrite): Promise<Refusal | undefined> {
  const write = changedAlone(whole);
  const { policy } = write.table;
  const statement = updateStatement(write, session, { onlyAsSeen: policy !== 'merge' });
  if (statement && (await run(session, statement)) > 0) return undefined;
  if (!(await exists(session, write))) return refusal('WRITE_ROW_NOT_FOUND', write);
  // It is there: it is not as the client saw it, a policy of the source hides it from changes, or nothing was to change.
  if (!statement || policy === 'server-wins') return undefined;
  return refusal(policy === 'merge' ? 'WRITE_FORBIDDEN' : 'WRITE_STALE', write);
}

/** Of an upsert, without the columns that it names for the case that the row is gone. */
function changedAlone(write: PlannedWrite): PlannedWrite {
  if (write.kind !== 'upsert') return write;
  const changes = write.changes.filter(({ value, previous }) => previous === undefined || value !== previous);
  return { ...write, changes };
}

/** A row that is not there is what the client wanted. */
async function remove(session: WriterSession, write: PlannedWrite): Promise<Refusal | undefined> {
  const { policy } = write.table;
  if ((await run(session, deleteStatement(write, session, { onlyAsSeen: policy !== 'merge' }))) > 0) return undefined;
  if (policy === 'server-wins' || !(await exists(session, write))) return undefined;
  return refusal(policy === 'merge' ? 'WRITE_FORBIDDEN' : 'WRITE_STALE', write);
}

async function exists(session: WriterSession, write: PlannedWrite): Promise<boolean> {
  return (await run(session, existsStatement(write, session))) > 0;
}

function run(session: WriterSession, { sql, parameters }: Statement): Promise<number> {
  return session.run(sql, parameters);
}
function refusal(code: Code, write: PlannedWrite): Refusal {
  return { code, reason: write.table.table.name };
}

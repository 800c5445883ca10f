import { AppError } from '@sluice/errors';
import type { Upload, UploadAnswer } from '@sluice/uploads';
import { escapeIdentifier } from 'pg';
import { isRefusal, type PlannedWrite, type Refusal, type WriterSession } from '../model.ts';
import { applyWrite, mayRaceWithInsert } from './apply-write.ts';
import { refusalOf, sqlstateFrom } from './refusal-of.ts';

export interface Recording {
  readonly upload: Upload;
  /** What to write, or why nothing can be. */
  readonly plan: readonly PlannedWrite[] | Refusal;
  readonly role: string;
  /** The last look: a row that appears in the way counts as one that was there, and what takes too long is refused. */
  readonly isLastLook: boolean;
}
export interface Recorded {
  readonly answer: UploadAnswer;
  /** Set when this attempt recorded a refusal. */
  readonly refusal: Refusal | undefined;
}

const UNIQUE_VIOLATION = '23505';
/** Query cancelled: a statement took longer than it may. */
const TIMED_OUT = '57014';

/**
 * L15: in one transaction the client's record moves from n-1 to n and the writes are made, or their refusal is kept.
 * Whoever comes second, with the same upload or another one of that number, finds the record moved and changes nothing.
 * @throws AppError WRITE_CLIENT_FOREIGN, WRITES_ROLE_UNUSABLE, or the driver's error; then nothing happened unless the commit
 * itself was cut, which the next attempt finds out
 */
export async function recordUpload(session: WriterSession, recording: Recording): Promise<Recorded> {
  const { upload, plan } = recording;
  await session.run('BEGIN');
  if (!(await moveRecord(session, upload))) {
    const answer = await answerFromRecord(session, upload);
    await session.run('ROLLBACK');
    return { answer, refusal: undefined };
  }
  if (upload.refusalsKept > 0) await forgetRefusals(session, upload);
  const refusal = isRefusal(plan) ? plan : await writeInSavepoint(session, plan, recording);
  if (refusal) await keepRefusal(session, upload, refusal);
  await session.run('COMMIT');
  return { answer: { result: 'recorded', code: '', expected: upload.seq + 1 }, refusal };
}

const FIRST_SQL = `INSERT INTO sluice.client (project, client_id, subject, seq) VALUES ($1, $2, $3, 1)
ON CONFLICT (project, client_id) DO NOTHING`;
const NEXT_SQL = `UPDATE sluice.client SET seq = $4, updated_at = pg_catalog.now()
WHERE project = $1 AND client_id = $2 AND subject = $3 AND seq = $4 - 1`;

/** Waits for whoever else is moving it just now. */
async function moveRecord(session: WriterSession, { ref, clientId, subject, seq }: Upload): Promise<boolean> {
  const moved =
    seq === 1
      ? await session.run(FIRST_SQL, [ref, clientId, subject])
      : await session.run(NEXT_SQL, [ref, clientId, subject, seq]);
  return moved > 0;
}

const RECORD_SQL =
  'SELECT subject, seq::pg_catalog.float8 AS seq FROM sluice.client WHERE project = $1 AND client_id = $2';

async function answerFromRecord(session: WriterSession, upload: Upload): Promise<UploadAnswer> {
  const [record] = await session.rows<{ subject: string; seq: number }>(RECORD_SQL, [upload.ref, upload.clientId]);
  if (record && record.subject !== upload.subject) throw new AppError('WRITE_CLIENT_FOREIGN');
  const next = (record?.seq ?? 0) + 1;
  return upload.seq < next
    ? { result: 'recorded', code: '', expected: next }
    : { result: 'gap', code: '', expected: next };
}

async function forgetRefusals(session: WriterSession, { ref, clientId, refusalsKept }: Upload): Promise<void> {
  await session.run('DELETE FROM sluice.refusal WHERE project = $1 AND client_id = $2 AND seq <= $3', [
    ref,
    clientId,
    refusalsKept,
  ]);
}

async function keepRefusal(session: WriterSession, upload: Upload, { code, reason }: Refusal): Promise<void> {
  const { ref, clientId, seq, subject } = upload;
  await session.run(
    'INSERT INTO sluice.refusal (project, client_id, seq, subject, code, reason) VALUES ($1, $2, $3, $4, $5, $6)',
    [ref, clientId, seq, subject, code, reason],
  );
}

/** As the rules' role, with the user's claims. Returns why the writes were refused; then none of them was made. */
async function writeInSavepoint(
  session: WriterSession,
  writes: readonly PlannedWrite[],
  recording: Recording,
): Promise<Refusal | undefined> {
  await session.run('SAVEPOINT sluice_upload');
  await takeRole(session, recording.role);
  await session.run("SELECT pg_catalog.set_config('request.jwt.claims', $1, true)", [
    JSON.stringify(recording.upload.claims),
  ]);
  const refusal = await writeAll(session, writes, recording);
  if (refusal) {
    // The role and the claims go back with the savepoint.
    await session.run('ROLLBACK TO SAVEPOINT sluice_upload');
    return refusal;
  }
  await session.run('RESET ROLE; RELEASE SAVEPOINT sluice_upload');
  return undefined;
}

async function takeRole(session: WriterSession, role: string): Promise<void> {
  try {
    await session.run(`SET LOCAL ROLE ${escapeIdentifier(role)}`);
  } catch (error) {
    if (sqlstateFrom(error) === undefined) throw error;
    throw new AppError('WRITES_ROLE_UNUSABLE', { cause: error });
  }
}

async function writeAll(
  session: WriterSession,
  writes: readonly PlannedWrite[],
  { isLastLook }: Recording,
): Promise<Refusal | undefined> {
  let current: PlannedWrite | undefined;
  try {
    for (const write of writes) {
      current = write;
      const refusal = await applyWrite(session, write);
      if (refusal) return refusal;
    }
    current = undefined;
    // Deferred ones would be found at the commit, too late to keep the record without the writes.
    await session.run('SET CONSTRAINTS ALL IMMEDIATE');
    return undefined;
  } catch (error) {
    const sqlstate = sqlstateFrom(error);
    const isRace = sqlstate === UNIQUE_VIOLATION && current && mayRaceWithInsert(current);
    if (isRace && !isLastLook) throw error;
    // Once more might do, on a server that was busy; a write that is always too slow must not hold up those behind it.
    if (sqlstate === TIMED_OUT && isLastLook)
      return { code: 'WRITE_TIMED_OUT', reason: current?.table.table.name ?? '' };
    const refusal = refusalOf(error, current);
    if (!refusal) throw error;
    return refusal;
  }
}

import { AppError } from '@sluice/errors';
import type { Upload, UploadAnswer } from '@sluice/uploads';
import { escapeIdentifier } from 'pg';
import { isRefusal, type PlannedWrite, type Refusal, type Statement, type WriterSession } from '../model.ts';
import { applyWrite, hopefulStatements, mayRaceWithInsert } from './apply-write.ts';
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

/** Statements that are sent without waiting for each other's answers. */
const IN_ONE_GO_MAX = 100;
const SAVEPOINT: Statement = { sql: 'SAVEPOINT sluice_upload' };
const UNDO = 'ROLLBACK TO SAVEPOINT sluice_upload';
/** Deferred ones would be found at the commit, too late to keep the record without the writes. */
const CHECK_CONSTRAINTS: Statement = { sql: 'SET CONSTRAINTS ALL IMMEDIATE' };
const DONE = 'RESET ROLE; RELEASE SAVEPOINT sluice_upload; COMMIT';

/**
 * L15: in one transaction the client's record moves from n-1 to n and the writes are made, or their refusal is kept.
 * Whoever comes second, with the same upload or another one of that number, finds the record moved and changes nothing.
 * @throws AppError WRITE_CLIENT_FOREIGN, WRITES_ROLE_UNUSABLE, or the driver's error; then nothing happened unless the commit
 * itself was cut, which the next attempt finds out
 */
export async function recordUpload(session: WriterSession, recording: Recording): Promise<Recorded> {
  const { upload, plan, isLastLook } = recording;
  const hopes = isRefusal(plan) || isLastLook ? undefined : hopefulStatements(plan, session);
  const outcome = await writeHopefully(session, {
    ...recording,
    count: 1,
    hopes: hopes && [...hopes, CHECK_CONSTRAINTS],
  });
  if (outcome === 'moved before') return { answer: await answerFromRecord(session, upload), refusal: undefined };
  let refusal: Refusal | undefined;
  if (outcome === 'undone') {
    refusal = isRefusal(plan) ? plan : await writeStepByStep(session, plan, recording);
    if (refusal) await keepRefusal(session, upload, refusal);
    await session.run(refusal ? 'COMMIT' : DONE);
  }
  return { answer: { result: 'recorded', code: '', expected: upload.seq + 1 }, refusal };
}

/**
 * L15 for several transactions of a client in one of the source: the record moves over all of them, when each does what it
 * should. Undefined when one of them does not; then nothing happened, and they are to be recorded one by one.
 * @throws as `recordUpload`
 */
export async function recordTogether(
  session: WriterSession,
  {
    upload,
    plans,
    role,
  }: { readonly upload: Upload; readonly plans: readonly (readonly PlannedWrite[])[]; readonly role: string },
): Promise<UploadAnswer | undefined> {
  const hopes: Statement[] = [];
  for (const plan of plans) {
    const statements = hopefulStatements(plan, session);
    if (!statements) return undefined;
    // Each is held to the constraints when it is complete; those behind it are at every step, which refuses no less.
    hopes.push(...statements, CHECK_CONSTRAINTS);
  }
  const count = plans.length;
  const outcome = await writeHopefully(session, { upload, role, count, hopes });
  if (outcome === 'recorded') return { result: 'recorded', code: '', expected: upload.seq + count };
  if (outcome === 'moved before') return answerFromRecord(session, upload);
  await session.run('ROLLBACK');
  return undefined;
}

/**
 * Sources are far away: everything up to the commit is sent in one go, in the hope that each statement does what it should.
 * `recorded`: it is committed. `moved before`: nothing happened. `undone`: the transaction is open at its savepoint, with the
 * record moved and nothing written, because there was no hope or because it came to nothing.
 */
async function writeHopefully(
  session: WriterSession,
  {
    upload,
    role,
    count,
    hopes,
  }: {
    readonly upload: Upload;
    readonly role: string;
    readonly count: number;
    readonly hopes: readonly Statement[] | undefined;
  },
): Promise<'recorded' | 'moved before' | 'undone'> {
  const opening = [{ sql: 'BEGIN' }, recordStatement(upload, count), ...forgottenRefusals(upload)];
  const [first = [], ...rest] = hopes
    ? inGoes([SAVEPOINT, roleStatement(role), claimsStatement(upload), ...hopes])
    : [[SAVEPOINT]];
  const answers = await session.inOneGo([...opening, ...first]);
  const opened = answers.slice(0, opening.length).map(resultOf);
  if (opened[1] === 0) {
    await session.run('ROLLBACK');
    return 'moved before';
  }
  const [savepoint, ...hoped] = answers.slice(opening.length);
  if (savepoint) resultOf(savepoint);
  if (!hopes) return 'undone';
  const haveComeTrue = areTrue(first.slice(1), hoped) && (await areTrueAsWell(session, rest));
  await session.run(haveComeTrue ? DONE : UNDO);
  return haveComeTrue ? 'recorded' : 'undone';
}

async function areTrueAsWell(session: WriterSession, goes: readonly (readonly Statement[])[]): Promise<boolean> {
  for (const go of goes) if (!areTrue(go, await session.inOneGo(go))) return false;
  return true;
}
/** Whether each statement did what it should. @throws what would be so step by step as well */
function areTrue(go: readonly Statement[], answers: readonly PromiseSettledResult<number>[]): boolean {
  return answers.every((answer, i) => {
    if (answer.status === 'fulfilled') return go[i]?.hasRow !== true || answer.value > 0;
    const sqlstate = sqlstateFrom(answer.reason);
    // Those behind the first that failed say only that it did.
    if (sqlstate === undefined || LOST_AS_A_WHOLE.has(sqlstate)) throw answer.reason;
    return false;
  });
}
/** Serialization failure, deadlock, and what took too long: nothing of the transaction is of use. */
const LOST_AS_A_WHOLE: ReadonlySet<string> = new Set(['40001', '40P01', TIMED_OUT]);

function inGoes(statements: readonly Statement[]): Statement[][] {
  const goes: Statement[][] = [];
  for (let i = 0; i < statements.length; i += IN_ONE_GO_MAX) goes.push(statements.slice(i, i + IN_ONE_GO_MAX));
  return goes;
}
function resultOf(answer: PromiseSettledResult<number>): number {
  if (answer.status === 'rejected') throw answer.reason;
  return answer.value;
}

const FIRST_SQL = `INSERT INTO sluice.client (project, client_id, subject, seq) VALUES ($1, $2, $3, $4)
ON CONFLICT (project, client_id) DO NOTHING`;
const NEXT_SQL = `UPDATE sluice.client SET seq = $4, updated_at = pg_catalog.now()
WHERE project = $1 AND client_id = $2 AND subject = $3 AND seq = $5`;

/** Moves the record over so many. Waits for whoever else is moving it just now; no row when it was moved. */
function recordStatement({ ref, clientId, subject, seq }: Upload, count: number): Statement {
  const last = seq + count - 1;
  return seq === 1
    ? { sql: FIRST_SQL, parameters: [ref, clientId, subject, last] }
    : { sql: NEXT_SQL, parameters: [ref, clientId, subject, last, seq - 1] };
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

function forgottenRefusals({ ref, clientId, refusalsKept }: Upload): Statement[] {
  const sql = 'DELETE FROM sluice.refusal WHERE project = $1 AND client_id = $2 AND seq <= $3';
  return refusalsKept > 0 ? [{ sql, parameters: [ref, clientId, refusalsKept] }] : [];
}

async function keepRefusal(session: WriterSession, upload: Upload, { code, reason }: Refusal): Promise<void> {
  const { ref, clientId, seq, subject } = upload;
  await session.run(
    'INSERT INTO sluice.refusal (project, client_id, seq, subject, code, reason) VALUES ($1, $2, $3, $4, $5, $6)',
    [ref, clientId, seq, subject, code, reason],
  );
}

/** As the rules' role, with the user's claims. Returns why the writes were refused; then none of them was made. */
async function writeStepByStep(
  session: WriterSession,
  writes: readonly PlannedWrite[],
  recording: Recording,
): Promise<Refusal | undefined> {
  try {
    await session.run(roleStatement(recording.role).sql);
  } catch (error) {
    if (sqlstateFrom(error) === undefined) throw error;
    throw new AppError('WRITES_ROLE_UNUSABLE', { cause: error });
  }
  const { sql, parameters } = claimsStatement(recording.upload);
  await session.run(sql, parameters);
  const refusal = await writeAll(session, writes, recording);
  // The role and the claims go back with the savepoint.
  if (refusal) await session.run(UNDO);
  return refusal;
}

function roleStatement(role: string): Statement {
  return { sql: `SET LOCAL ROLE ${escapeIdentifier(role)}` };
}
function claimsStatement({ claims }: Upload): Statement {
  return {
    sql: "SELECT pg_catalog.set_config('request.jwt.claims', $1, true)",
    parameters: [JSON.stringify(claims)],
  };
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
    await session.run(CHECK_CONSTRAINTS.sql);
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

import { describe, expect, test } from 'vitest';
import { cell } from '../../testing/fixtures.ts';
import { memoryDatabaseIn, testModule } from '../../testing/replica-fixture.ts';
import { TestClock } from '../../testing/test-clock.ts';
import { TestGateway } from '../../testing/test-gateway.ts';
import { bucketOf, HELD, newWritesSource, recordRow, refusalRow } from '../../testing/write-fixtures.ts';
import type { WriteOperation } from '../../types.ts';
import { ClientCore } from '../client-core.ts';
import { type ResultFrame, rowsFromFrame } from '../query/frame.ts';

const note = (id: number, title = `note ${id}`): WriteOperation => ({ insert: 'notes', values: { id, title } });

/** A client whose gateway takes writes, and a source that the test moves. */
async function bench() {
  const source = newWritesSource();
  const gateway = new TestGateway(source, HELD);
  gateway.writes = { type: 'writes', state: 'enabled', code: '' };
  const clock = new TestClock();
  const module = await testModule();
  let digit = 0;
  const core = new ClientCore({
    project: 'demo',
    sdk: 'test',
    module,
    storage: {
      kind: 'memory',
      degraded: undefined,
      open: () => memoryDatabaseIn(module),
      destroy: () => undefined,
      release: () => undefined,
    },
    clock,
    random: () => (digit++ % 97) / 97,
    openSocket: () => gateway.connect(),
    fetchToken: () => Promise.resolve('token'),
    onStatus: () => undefined,
    bufferedBytesMax: undefined,
    inflate: undefined,
    onStep: undefined,
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await Promise.resolve();
    gateway.accept();
  };
  const reconnect = async (): Promise<void> => {
    clock.advance(10_000);
    await settle();
  };
  const connect = async (): Promise<void> => {
    core.connect();
    await settle();
  };
  const clientId = (): string => gateway.hellos.at(-1)?.clientId ?? '';
  const answer = (seq: number, result: 'recorded' | 'retry' | 'gap' = 'recorded', expected = 0): void =>
    gateway.send({ type: 'upload-result', seq, result, code: '', expected });
  /** The source says that writes through `seq` are settled, these of them refused. */
  const record = (seq: number, refused: readonly number[] = []): void => {
    source.beginFrame();
    for (const no of refused)
      source.set('sluice_refusal', refusalRow(clientId(), no), [bucketOf({ name: 'sluice_refusal' })]);
    source.set('sluice_client', recordRow(clientId(), seq), [bucketOf({ name: 'sluice_client' })]);
  };
  const titles = (): unknown[] =>
    rowsFromFrame(core.query('SELECT title FROM notes ORDER BY id', [])).map(({ title }) => title);
  return { core, source, gateway, clock, connect, reconnect, clientId, answer, record, titles };
}

describe('uploads', () => {
  test('L14 L15: writes are seen at once, sent in order, and settled by the checkpoint that says so', async () => {
    const { core, gateway, connect, answer, record, titles } = await bench();
    await connect();
    core.write([note(1), note(2)]);
    core.write([{ update: 'notes', values: { id: 1, title: 'changed' } }]);
    expect(titles()).toEqual(['changed', 'note 2']);
    expect(gateway.takeUploads()).toEqual([1, 2]);
    expect(core.status.writes).toEqual({ state: 'enabled', code: '', pending: 2, rejected: 0, lost: 0 });
    answer(1);
    answer(2);
    // That the record is committed is no news of the rows.
    expect(core.status.writes.pending).toBe(2);
    record(1);
    gateway.push();
    expect(core.status.writes.pending).toBe(1);
    core.write([note(3)]);
    expect(gateway.uploads[0]).toMatchObject({ seq: 3, refusalsKept: 1 });
    core.close();
  });

  test('what was written offline, and what nobody settled, is sent with the next connection, a bounded number ahead', async () => {
    const { core, gateway, connect, reconnect, answer, record, titles } = await bench();
    await connect();
    core.write([note(100)]);
    gateway.hangUp();
    gateway.takeUploads();
    for (let i = 1; i <= 20; i++) core.write([note(i)]);
    expect(titles()).toHaveLength(21);
    record(1);
    await reconnect();
    // The first checkpoint may come after the first uploads; what it settles is not sent again.
    const sent = gateway.takeUploads();
    const [first = 0] = sent;
    expect(sent).toEqual(Array.from({ length: 16 }, (_, i) => first + i));
    answer(first);
    answer(first + 1);
    expect(gateway.takeUploads()).toHaveLength(2);
    core.close();
  });

  test('an answer that asks for uploads again is obeyed after a pause, once all answers are there', async () => {
    const { core, gateway, clock, connect, answer } = await bench();
    await connect();
    for (let i = 1; i <= 3; i++) core.write([note(i)]);
    expect(gateway.takeUploads()).toEqual([1, 2, 3]);
    answer(1);
    answer(2, 'retry');
    answer(3, 'gap', 2);
    expect(gateway.takeUploads()).toEqual([]);
    clock.advance(10_000);
    expect(gateway.takeUploads()).toEqual([2, 3]);
    core.close();
  });

  test('a refusal takes the rows back, is kept until it is dismissed, and may be written again', async () => {
    const { core, source, gateway, connect, record, titles } = await bench();
    source.beginFrame();
    source.set('notes', [cell(1n), cell('theirs'), cell(null), cell(null), cell(0n)], [bucketOf({ name: 'notes' })]);
    await connect();
    core.write([{ update: 'notes', values: { id: 1, title: 'mine' } }, note(2)]);
    core.write([note(3)]);
    expect(titles()).toEqual(['mine', 'note 2', 'note 3']);
    record(1, [1]);
    gateway.push();
    expect(titles()).toEqual(['theirs', 'note 3']);
    expect(core.status.writes).toMatchObject({ pending: 1, rejected: 1 });
    const [refused] = core.rejected();
    expect(refused).toMatchObject({
      code: 'WRITE_STALE',
      reason: 'somebody was faster',
      operations: [{ update: 'notes', values: { id: 1, title: 'mine' } }, note(2)],
    });
    core.write(refused?.operations ?? []);
    expect(titles()).toEqual(['mine', 'note 2', 'note 3']);
    core.dismiss(refused?.id ?? 0);
    expect(core.rejected()).toEqual([]);
    expect(core.status.writes.rejected).toBe(0);
    core.close();
  });

  test('L15: a source that was set back says what it lost; what is pending is numbered on from its record', async () => {
    const { core, source, gateway, connect, reconnect, record, clientId } = await bench();
    await connect();
    for (let i = 1; i <= 4; i++) core.write([note(i)]);
    record(3);
    gateway.push();
    gateway.hangUp();
    gateway.takeUploads();
    source.epoch++;
    source.beginFrame();
    source.set('sluice_client', recordRow(clientId(), 1), [bucketOf({ name: 'sluice_client' })]);
    await reconnect();
    expect(core.status.writes).toMatchObject({ pending: 1, lost: 2 });
    gateway.hangUp();
    gateway.takeUploads();
    await reconnect();
    expect(gateway.takeUploads()).toEqual([2]);
    core.close();
  });

  test('the copy of a database takes an id of its own, so that neither client takes the other for itself', async () => {
    const { core, gateway, connect, reconnect, record, clientId } = await bench();
    await connect();
    const before = clientId();
    core.write([note(1)]);
    record(5);
    gateway.push();
    gateway.takeUploads();
    await reconnect();
    expect(clientId()).not.toBe(before);
    expect(gateway.takeUploads()).toEqual([1]);
    core.close();
  });

  test('a live query shows a write at once, and is not told of its settling, which changes nothing', async () => {
    const { core, source, gateway, connect, record } = await bench();
    await connect();
    const seen: unknown[] = [];
    const listener = { onFrame: (frame: ResultFrame) => seen.push(rowsFromFrame(frame)), onError: () => undefined };
    core.addLive('SELECT id, title FROM notes', [], listener);
    core.write([note(1)]);
    record(1);
    source.set('notes', [cell(1n), cell('note 1'), cell(null), cell(null), cell(null)], [bucketOf({ name: 'notes' })]);
    gateway.push();
    expect(core.status.writes.pending).toBe(0);
    expect(seen).toEqual([[], [{ id: 1, title: 'note 1' }]]);
    core.close();
  });

  test('what cannot be written is refused with a code, and leaves nothing behind', async () => {
    const { core, gateway, connect, titles } = await bench();
    const code = (operations: readonly WriteOperation[]): string => {
      try {
        core.write(operations);
      } catch (error) {
        return (error as { code: string }).code;
      }
      return 'written';
    };
    expect(code([note(1)])).toBe('CLIENT_NOT_READY');
    await connect();
    core.write([note(1)]);
    const refused: readonly (readonly [WriteOperation, string])[] = [
      [{ insert: 'nothing', values: { id: 1 } }, 'CLIENT_WRITE_TABLE_UNKNOWN'],
      [{ insert: 'notes', values: { title: 'no key' } }, 'CLIENT_WRITE_INVALID'],
      [{ insert: 'notes', values: { id: 2, colour: 'red' } }, 'CLIENT_WRITE_INVALID'],
      [{ insert: 'notes', values: { id: 'two' } }, 'CLIENT_WRITE_INVALID'],
      [{ insert: 'notes', values: { id: 1 } }, 'CLIENT_WRITE_INVALID'],
      [{ sql: 'UPDATE notes SET id = 9' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'UPDATE sluice_client SET seq = 9' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'UPDATE _sluice_state SET lsn = 9' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'UPDATE notes SET _sluice_hash = 9' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'DROP TABLE notes' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'COMMIT' }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: "PRAGMA journal_mode = 'delete'" }, 'CLIENT_WRITE_FORBIDDEN'],
      [{ sql: 'DELETE FROM notes; DELETE FROM notes' }, 'CLIENT_WRITE_INVALID'],
      [{ sql: 'DELETE FROM notes WHERE id = ?' }, 'CLIENT_WRITE_INVALID'],
      [{ sql: 'UPDATE notes SET title = ?', parameters: [Number.NaN] }, 'CLIENT_QUERY_PARAMETER_INVALID'],
      [note(3, 'x'.repeat(200_000)), 'CLIENT_WRITE_TOO_LARGE'],
    ];
    for (const [operation, expected] of refused)
      expect(code([note(7), operation]), JSON.stringify(operation).slice(0, 80)).toBe(expected);
    expect(titles()).toEqual(['note 1']);
    expect(core.status.writes.pending).toBe(1);
    gateway.send({ type: 'writes', state: 'read-only', code: 'WRITES_NOT_SET' });
    expect(code([note(7)])).toBe('CLIENT_WRITES_READ_ONLY');
    expect(core.verify().ok).toBe(true);
    core.close();
  });
});

import { type TcpProxy, tcpProxy } from '@sluice/testkit';
import { Client } from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { mutation, PROJECT, TestClient, type WriterStack, writerStack } from './testing/writer-stack.ts';

const SPEC = {
  tablesSql:
    'CREATE TABLE notes (id int PRIMARY KEY, body text); GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO {app};',
  policies: { notes: 'merge' },
};
let stack: WriterStack;
afterEach(() => stack?.[Symbol.asyncDispose]());

const note = (id: number) => mutation('insert', 'notes', { key: [id], set: { body: 'x' } });
const notes = async () => (await stack.sql('SELECT id FROM notes ORDER BY id')).map(({ id }) => id);

describe('whether writes are taken', () => {
  it('not without `writes` in the rules', async () => {
    stack = await writerStack(SPEC);
    const rules = stack.rules();
    stack.setRules(rules && { streams: rules.streams, tables: rules.tables });
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'read-only', code: 'WRITES_OFF' });
    const ann = new TestClient(stack.writer, 'ann');
    expect(await ann.upload(note(1))).toEqual({ result: 'retry', code: 'WRITES_OFF', expected: 1 });
    stack.setRules(rules);
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'enabled', code: '' });
    ann.seq = 0;
    expect(await ann.upload(note(1))).toMatchObject({ result: 'recorded' });
  });

  it.each([
    ['WRITES_ROLE_UNSAFE', 'ALTER ROLE {app} SUPERUSER', 'ALTER ROLE {app} NOSUPERUSER'],
    ['WRITES_ROLE_UNSAFE', 'ALTER ROLE {app} BYPASSRLS', 'ALTER ROLE {app} NOBYPASSRLS'],
    ['WRITES_ROLE_UNUSABLE', 'REVOKE {app} FROM {login}', 'GRANT {app} TO {login}'],
    ['WRITES_ROLE_UNUSABLE', 'ALTER ROLE {app} RENAME TO {app}_old', 'ALTER ROLE {app}_old RENAME TO {app}'],
    ['WRITES_TABLES_UNUSABLE', 'REVOKE ALL ON sluice.client FROM {login}', 'GRANT ALL ON sluice.client TO {login}'],
    ['WRITES_TABLES_UNUSABLE', 'ALTER SCHEMA sluice RENAME TO away', 'ALTER SCHEMA away RENAME TO sluice'],
  ])('%s until it is put right: %s', async (code, break_, mend) => {
    stack = await writerStack(SPEC);
    const named = (sql: string) => sql.replaceAll('{app}', stack.app).replaceAll('{login}', stack.login);
    const ann = new TestClient(stack.writer, 'ann');
    await stack.sql(named(break_));
    const upload = ann.next(note(1));
    expect(await stack.writer.write(upload)).toEqual({ result: 'retry', code, expected: 1 });
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'unavailable', code });
    expect(await notes()).toEqual([]);
    await stack.sql(named(mend));
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'enabled', code: '' });
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'recorded' });
    expect(await notes()).toEqual([1]);
  });

  it('a source that cannot be reached is a state, and no refusal', async () => {
    let port = 1;
    stack = await writerStack({
      ...SPEC,
      through: async (connection) => ({
        ...connection,
        get port() {
          return port === 1 ? 1 : connection.port;
        },
      }),
    });
    const ann = new TestClient(stack.writer, 'ann');
    const upload = ann.next(note(1));
    expect(await stack.writer.write(upload)).toEqual({ result: 'retry', code: 'SOURCE_UNREACHABLE', expected: 1 });
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'unavailable', code: 'SOURCE_UNREACHABLE' });
    port = 0;
    stack.writer.projectChanged(PROJECT);
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'recorded' });
    expect(await stack.writer.stateOf(PROJECT)).toEqual({ state: 'enabled', code: '' });
  });
});

describe('L16: bounds', () => {
  it('a row that somebody locks for long makes the upload come again, and is no refusal', async () => {
    stack = await writerStack({ ...SPEC, limits: { lockTimeoutMs: 50 } });
    const ann = new TestClient(stack.writer, 'ann');
    await ann.upload(note(1));
    const other = new Client({ connectionString: stack.url });
    await other.connect();
    await other.query('BEGIN; UPDATE notes SET body = NULL');
    const upload = ann.next(note(1));
    expect(await stack.writer.write(upload)).toEqual({ result: 'retry', code: 'WRITES_BUSY', expected: 2 });
    await other.query('COMMIT');
    await other.end();
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'recorded' });
    expect(await stack.sql('SELECT * FROM sluice.refusal')).toEqual([]);
  });

  it('a write that always takes too long is refused, and does not hold up what stands behind it', async () => {
    stack = await writerStack({ ...SPEC, limits: { statementTimeoutMs: 100 } });
    await stack.sql(`
      CREATE FUNCTION sleep_on_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_sleep(60);
        RETURN NEW;
      END $$;
      CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION sleep_on_it();`);
    const ann = new TestClient(stack.writer, 'ann');
    expect(await ann.upload(note(1))).toMatchObject({ result: 'recorded' });
    expect(await ann.upload(note(2))).toMatchObject({ result: 'recorded' });
    expect(await notes()).toEqual([2]);
    expect(await stack.sql('SELECT seq, code, reason FROM sluice.refusal')).toEqual([
      { seq: '1', code: 'WRITE_TIMED_OUT', reason: 'notes' },
    ]);
  });

  it('a source that falls silent in the middle is given up, and the upload comes again', async () => {
    let proxy: TcpProxy | undefined;
    stack = await writerStack({
      ...SPEC,
      limits: { answerTimeoutMs: 300 },
      async through(connection) {
        proxy = await tcpProxy({ port: connection.port, host: connection.host });
        return { ...connection, host: '127.0.0.1', port: proxy.port };
      },
    });
    const ann = new TestClient(stack.writer, 'ann');
    expect(await ann.upload(note(1))).toMatchObject({ result: 'recorded' });
    const upload = ann.next(note(2));
    proxy?.swallow('toClient');
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'retry', expected: 2 });
    proxy?.heal();
    proxy?.cut();
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'recorded' });
    expect(await notes()).toEqual([1, 2]);
    await proxy?.[Symbol.asyncDispose]();
  });

  it('a project has a few connections and a short line; who finds it full comes again', async () => {
    stack = await writerStack({ ...SPEC, limits: { connectionsMax: 2, waitingMax: 3 } });
    const uploads = Array.from({ length: 20 }, (_, i) => new TestClient(stack.writer, 'ann').next(note(i)));
    const answers = await Promise.all(uploads.map((upload) => stack.writer.write(upload)));
    const [{ count = 0 } = {}] = await stack.sql<{ count: number }>(
      'SELECT count(*)::int FROM pg_stat_activity WHERE usename = $1',
      [stack.login],
    );
    expect(count).toBeLessThanOrEqual(2);
    expect(new Set(answers.map(({ code }) => code))).toEqual(new Set(['', 'WRITES_BUSY']));
    expect((await notes()).length).toBe(answers.filter(({ result }) => result === 'recorded').length);
  });
});

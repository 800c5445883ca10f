import { encodeMutations } from '@sluice/protocol';
import { type TcpProxy, tcpProxy, waitFor } from '@sluice/testkit';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { SourceSession } from '../source/writer-session.ts';
import { mutation, TestClient, type WriterStack, writerStack } from '../testing/writer-stack.ts';

const TABLES = `
CREATE TABLE log (id int PRIMARY KEY, note text);
CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO counters VALUES (1, 0), (2, 0);
GRANT SELECT, INSERT, UPDATE, DELETE ON log, counters TO {app};
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.n := OLD.n + 1; RETURN NEW;
END $$;
CREATE TRIGGER t BEFORE UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION count_up();
`;

let stack: WriterStack;
let proxy: TcpProxy;

beforeAll(async () => {
  stack = await writerStack({
    tablesSql: TABLES,
    policies: { log: 'merge', counters: 'merge' },
    async through(connection) {
      proxy = await tcpProxy({ port: connection.port, host: connection.host });
      return { ...connection, host: '127.0.0.1', port: proxy.port };
    },
  });
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
});

const client = () => new TestClient(stack.writer, 'ann');
/** Counts each time that it is made, by a trigger. */
const count = (id: number) => mutation('update', 'counters', { key: [id], set: { n: 0 }, was: { n: 0 } });
const counted = async (id: number) =>
  (await stack.sql<{ n: number }>('SELECT n FROM counters WHERE id = $1', [id]))[0]?.n ?? -1;
const recordOf = async ({ id }: TestClient) =>
  (await stack.sql<{ seq: string; subject: string }>('SELECT * FROM sluice.client WHERE client_id = $1', [id]))[0];

describe('L15: an upload is written exactly once', () => {
  it('however often it comes', async () => {
    const ann = client();
    const before = await counted(1);
    const upload = ann.next(count(1));
    for (let i = 0; i < 3; i++)
      expect(await stack.writer.write(upload)).toEqual({ result: 'recorded', code: '', expected: 2 });
    expect(await counted(1)).toBe(before + 1);
    expect(await recordOf(ann)).toMatchObject({ seq: '1', subject: 'ann' });
  });

  it.each([1, 2])('however many bring it at one time (upload %i of its client)', async (nth) => {
    const ann = client();
    for (let seq = 1; seq < nth; seq++) await ann.upload();
    const before = await counted(1);
    const upload = ann.next(count(1));
    const answers = await Promise.all(Array.from({ length: 12 }, () => stack.writer.write(upload)));
    for (const answer of answers) expect(answer).toMatchObject({ result: 'recorded', expected: nth + 1 });
    expect(await counted(1)).toBe(before + 1);
  });

  it('when the connection is cut at any point of it, the commit and its answer included', async () => {
    const ann = client();
    await ann.upload();
    const startBytes = proxy.bytes.toClient;
    await ann.upload(count(1));
    const bytesOfOne = proxy.bytes.toClient - startBytes;
    const before = await counted(1);
    let retries = 0;
    let uploads = 0;
    // From the first answer to the last byte of the one to COMMIT; a new connection's greeting comes before when it was cut.
    for (let at = 0; at < bytesOfOne + 2; at += 7) {
      const upload = ann.next(count(1));
      uploads++;
      proxy.cutAfter('toClient', at);
      let answer = await stack.writer.write(upload);
      proxy.heal();
      for (; answer.result === 'retry'; retries++) answer = await stack.writer.write(upload);
      expect(answer).toEqual({ result: 'recorded', code: '', expected: upload.seq + 1 });
    }
    expect(retries).toBeGreaterThan(10);
    expect(await counted(1)).toBe(before + uploads);
  });

  it('a commit whose answer is lost is found by the next attempt', async () => {
    const ann = client();
    await ann.upload();
    const before = await counted(2);
    // Holds the row until everything that the writer asks for has got there but the answers.
    const blocker = new Client({ connectionString: stack.url });
    await blocker.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT FROM counters WHERE id = 2 FOR UPDATE');
    const upload = ann.next(count(2));
    const first = stack.writer.write(upload);
    await waitFor(
      async () =>
        (await stack.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1", [stack.login]))
          .length > 0,
      { what: 'the writer to wait for the row' },
    );
    const again = stack.writer.write(upload);
    proxy.cut();
    await blocker.query('COMMIT');
    await blocker.end();
    const answers = [await first, await again];
    expect(answers.map(({ result }) => result)).toContain('retry');
    expect(await stack.writer.write(upload)).toMatchObject({ result: 'recorded' });
    expect(await counted(2)).toBe(before + 1);
  });
});

describe('the way to a source that is far away', () => {
  /** How often the source's answers are waited for. */
  async function waitsOf(work: () => Promise<unknown>): Promise<number> {
    const spies = (['run', 'rows', 'inOneGo'] as const).map((name) => vi.spyOn(SourceSession.prototype, name));
    await work();
    const [runs = 0, rows = 0, goes = 0] = spies.map(({ mock }) => mock.calls.length);
    // What goes in one go is made of runs that nobody waits for one by one.
    const within = spies[2]?.mock.calls.reduce((sum, [statements]) => sum + (statements as unknown[]).length, 0) ?? 0;
    for (const spy of spies) spy.mockRestore();
    return runs - within + rows + goes;
  }

  it('is gone twice for an upload: with everything that is to be written, and with the commit', async () => {
    const ann = client();
    await ann.upload();
    const insert = (id: number) => mutation('insert', 'log', { key: [id], set: { note: 'x' } });
    expect(await waitsOf(() => ann.upload(count(1), count(2), insert(700)))).toBe(2);
    ann.refusalsKept = 1;
    expect(await waitsOf(() => ann.upload(mutation('delete', 'log', { key: [700] })))).toBe(2);
  });

  it('is gone step by step for one that the source does not take as it is', async () => {
    const ann = client();
    await ann.upload(mutation('insert', 'log', { key: [701], set: { note: 'x' } }));
    const again = mutation('insert', 'log', { key: [701], set: { note: 'y' } });
    expect(await waitsOf(() => ann.upload(again, count(1)))).toBeGreaterThan(2);
    expect(await stack.sql('DELETE FROM log WHERE id = 701 RETURNING note')).toEqual([{ note: 'y' }]);
  });
});

describe('L15: several transactions of a client in one upload', () => {
  const insert = (id: number, note = 'x') => mutation('insert', 'log', { key: [id], set: { note } });
  const insertCount = (id: number) => mutation('insert', 'counters', { key: [id], set: { n: 0 } });
  const notes = async (from: number) =>
    (await stack.sql<{ id: number }>('SELECT id FROM log WHERE id BETWEEN $1 AND $1 + 99 ORDER BY id', [from])).map(
      ({ id }) => id,
    );

  it('are one transaction of the source, in their order, each once however often they come', async () => {
    const ann = client();
    const answer = await ann.uploadTogether(
      [insert(1000)],
      [mutation('update', 'log', { key: [1000], set: { note: 'y' }, was: { note: 'x' } })],
      [insert(1001), count(1)],
    );
    expect(answer).toEqual({ result: 'recorded', code: '', expected: 4 });
    const rows = await stack.sql('SELECT note, xmin::text FROM log WHERE id IN (1000, 1001) ORDER BY id');
    expect(rows).toMatchObject([{ note: 'y' }, { note: 'x' }]);
    expect(new Set(rows.map((row) => (row as { xmin: string }).xmin)).size).toBe(1);
    expect(await recordOf(ann)).toMatchObject({ seq: '3' });
    const before = await counted(1);
    // As after a lost answer, with one more behind: those that are recorded are not made again.
    const again = { ...ann.at(2), transactions: [count(1), count(1), count(1)].map((one) => encodeMutations([one])) };
    expect(await stack.writer.write(again)).toEqual({ result: 'recorded', code: '', expected: 4 });
    expect(await counted(1)).toBe(before);
    expect(await stack.writer.write({ ...again, seq: 5 })).toEqual({ result: 'gap', code: '', expected: 4 });
    expect(await counted(1)).toBe(before);
  });

  it('one that is refused is refused alone', async () => {
    const ann = client();
    const answer = await ann.uploadTogether(
      [insert(1100)],
      [insert(1101), insertCount(1)],
      [insert(1102), mutation('update', 'log', { key: [1199], set: { note: 'nobody' }, was: { note: 'x' } })],
      [insert(1103)],
    );
    expect(answer).toEqual({ result: 'recorded', code: '', expected: 5 });
    expect(await notes(1100)).toEqual([1100, 1101, 1103]);
    const sql = 'SELECT seq, code FROM sluice.refusal WHERE client_id = $1';
    expect(await stack.sql(sql, [ann.id])).toEqual([{ seq: '3', code: 'WRITE_ROW_NOT_FOUND' }]);
  });

  it('a payload that is none is refused alone', async () => {
    const ann = client();
    const upload = {
      ...ann.at(1),
      transactions: [encodeMutations([insert(1200)]), Uint8Array.of(9, 9), encodeMutations([insert(1201)])],
    };
    expect(await stack.writer.write(upload)).toEqual({ result: 'recorded', code: '', expected: 4 });
    expect(await notes(1200)).toEqual([1200, 1201]);
  });

  it('however many bring it at one time', async () => {
    const ann = client();
    const before = await counted(1);
    const upload = { ...ann.at(1), transactions: [count(1), count(1), count(1)].map((one) => encodeMutations([one])) };
    const answers = await Promise.all(Array.from({ length: 12 }, () => stack.writer.write(upload)));
    for (const answer of answers) expect(answer).toEqual({ result: 'recorded', code: '', expected: 4 });
    expect(await counted(1)).toBe(before + 3);
  });

  it('when the connection is cut at any point of it', async () => {
    const ann = client();
    await ann.upload();
    const startBytes = proxy.bytes.toClient;
    await ann.uploadTogether([count(1)], [count(1)]);
    const bytesOfOne = proxy.bytes.toClient - startBytes;
    const before = await counted(1);
    let uploads = 0;
    let retries = 0;
    for (let at = 0; at < bytesOfOne + 2; at += 11) {
      const first = ann.seq + 1;
      ann.seq += 2;
      const both = { ...ann.at(first), transactions: [count(1), count(1)].map((one) => encodeMutations([one])) };
      uploads++;
      proxy.cutAfter('toClient', at);
      let answer = await stack.writer.write(both);
      proxy.heal();
      for (; answer.result === 'retry'; retries++) answer = await stack.writer.write(both);
      expect(answer).toEqual({ result: 'recorded', code: '', expected: first + 2 });
    }
    expect(retries).toBeGreaterThan(5);
    expect(await counted(1)).toBe(before + 2 * uploads);
  });
});

describe('the order of a client', () => {
  it('an upload beyond the next one is a gap, and nothing of it is written', async () => {
    const ann = client();
    expect(await stack.writer.write(ann.at(3, count(1)))).toEqual({ result: 'gap', code: '', expected: 1 });
    await ann.upload();
    const before = await counted(1);
    expect(await stack.writer.write(ann.at(3, count(1)))).toEqual({ result: 'gap', code: '', expected: 2 });
    expect(await counted(1)).toBe(before);
    expect(await recordOf(ann)).toMatchObject({ seq: '1' });
  });

  it('one that was recorded long ago stays so', async () => {
    const ann = client();
    for (let i = 0; i < 3; i++) await ann.upload();
    const before = await counted(1);
    expect(await stack.writer.write(ann.at(1, count(1)))).toEqual({ result: 'recorded', code: '', expected: 4 });
    expect(await counted(1)).toBe(before);
  });

  it("L15: a client id is its first user's for good", async () => {
    const ann = client();
    await ann.upload();
    const before = await counted(1);
    for (const seq of [1, 2, 5]) {
      const foreign = { ...ann.at(seq, count(1)), subject: 'eve', claims: { sub: 'eve' } };
      await expect(stack.writer.write(foreign)).rejects.toMatchObject({ code: 'WRITE_CLIENT_FOREIGN' });
    }
    expect(await counted(1)).toBe(before);
    expect(await recordOf(ann)).toMatchObject({ seq: '1', subject: 'ann' });
  });

  it('the same client id in another project is another client', async () => {
    const ann = client();
    await ann.upload();
    expect(await stack.writer.write({ ...ann.at(1), ref: 'other', subject: 'eve' })).toMatchObject({
      result: 'recorded',
      expected: 2,
    });
  });

  it('all of a local transaction is written or nothing', async () => {
    const ann = client();
    await ann.upload(
      mutation('insert', 'log', { key: [1], set: { note: 'kept' } }),
      mutation('insert', 'log', { key: [2], set: { note: 'too' } }),
    );
    await ann.upload(
      mutation('insert', 'log', { key: [3], set: { note: 'lost' } }),
      mutation('update', 'log', { key: [99], set: { note: 'nobody' }, was: { note: '' } }),
    );
    expect(await stack.sql('SELECT id FROM log WHERE id < 1000 ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
  });
});

describe('what others do meanwhile', () => {
  it('a serialization failure is tried again at once', async () => {
    await stack.sql(`ALTER ROLE ${stack.login} SET default_transaction_isolation = 'serializable'`);
    stack.writer.projectChanged();
    try {
      const hasCollided = (): boolean => stack.records.join('').includes('"reason":"40001"');
      for (let round = 0; round < 50 && !hasCollided(); round++) {
        const clients = Array.from({ length: 4 }, client);
        const before = await counted(1);
        const answers = await Promise.all(clients.map((each) => each.upload(count(1))));
        let written = answers.filter(({ result }) => result === 'recorded').length;
        // Bounded attempts may be used up; the client's own next one counts the same.
        for (const [i, { result }] of answers.entries()) {
          const each = clients[i];
          if (result === 'recorded' || !each) continue;
          expect((await stack.writer.write(each.at(1, count(1)))).result).toBe('recorded');
          written++;
        }
        expect(written).toBe(4);
        expect(await counted(1)).toBe(before + 4);
      }
      expect(hasCollided()).toBe(true);
    } finally {
      await stack.sql(`ALTER ROLE ${stack.login} RESET default_transaction_isolation`);
      stack.writer.projectChanged();
    }
  });

  it('two that lock each other out both get through', async () => {
    const [ann, bob] = [client(), client()];
    const before = (await counted(1)) + (await counted(2));
    for (let i = 0; i < 10; i++) {
      const answers = await Promise.all([ann.upload(count(1), count(2)), bob.upload(count(2), count(1))]);
      expect(answers.map(({ result }) => result)).toEqual(['recorded', 'recorded']);
    }
    expect((await counted(1)) + (await counted(2))).toBe(before + 40);
  });
});

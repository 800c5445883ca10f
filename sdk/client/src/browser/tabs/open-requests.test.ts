import { beforeEach, describe, expect, test } from 'vitest';
import { TestClock } from '../../testing/test-clock.ts';
import type { TabEvent } from '../rpc.ts';
import { OpenRequests } from './open-requests.ts';
import type { FollowerRequest } from './tab-messages.ts';

const query = (id: number) =>
  ({ kind: 'call', id, call: { method: 'query', sql: 'SELECT 1', parameters: [] } }) as const;
const rows = (id: number, result: string) => ({ kind: 'rows', id, result }) as unknown as TabEvent;

let told: TabEvent[];
let asked: FollowerRequest[];
let clock: TestClock;
let requests: OpenRequests;
const upstream = (request: FollowerRequest): void => {
  asked.push(request);
};
beforeEach(() => {
  told = [];
  asked = [];
  clock = new TestClock();
  requests = new OpenRequests(clock, (event) => told.push(event));
});
const deliver = (event: TabEvent): void => requests.deliver(event, []);
const calls = (): unknown[] =>
  asked.flatMap((one) => (one.kind === 'call' ? [[one.id, one.isRepeated, one.oldestOpen]] : []));

describe('what a page asked for and still wants', () => {
  test('is asked again of the next, in order, with what was sent before marked as such', () => {
    requests.receive({ kind: 'connect' });
    requests.attach(upstream);
    for (const id of [1, 2, 3]) requests.receive(query(id));
    deliver({ kind: 'result', id: 1, value: undefined });
    requests.detach();
    requests.receive(query(4));
    asked = [];
    requests.attach(upstream);
    expect(asked[0]).toEqual({ kind: 'connect' });
    expect(calls()).toEqual([
      [2, true, 2],
      [3, true, 2],
      [4, false, 2],
    ]);
  });

  test('a call is answered once, whoever answers first', () => {
    requests.attach(upstream);
    requests.receive(query(1));
    deliver({ kind: 'result', id: 1, value: 'first' });
    deliver({ kind: 'result', id: 1, value: 'second' });
    expect(told).toEqual([{ kind: 'result', id: 1, value: 'first' }]);
  });

  test('L16: the leader has a bounded number of calls at a time', () => {
    requests.attach(upstream);
    for (let id = 1; id <= 1000; id++) requests.receive(query(id));
    expect(asked).toHaveLength(256);
    for (let id = 1; id <= 100; id++) deliver({ kind: 'result', id, value: undefined });
    expect(asked).toHaveLength(356);
    expect(calls().at(-1)).toEqual([356, false, 101]);
  });

  test('rows that the page has are not told again, and count as handled', () => {
    requests.attach(upstream);
    requests.receive({ kind: 'live', id: 1, sql: 'SELECT 1', parameters: [] });
    deliver(rows(1, 'one'));
    asked = [];
    requests.attach(upstream);
    expect(asked).toEqual([{ kind: 'live', id: 1, sql: 'SELECT 1', parameters: [], delivered: 'one' }]);
    deliver(rows(1, 'one'));
    deliver(rows(1, 'two'));
    expect(told).toEqual([rows(1, 'one'), rows(1, 'two')]);
    expect(asked.at(-1)).toEqual({ kind: 'seen', id: 1 });
    requests.receive({ kind: 'unlive', id: 1 });
    deliver(rows(1, 'three'));
    expect(told).toHaveLength(2);
  });

  test('calls that waited too long are rejected, and nobody asks for them again', () => {
    const error = { code: 'CLIENT_TAB_SILENT', message: '', remedy: '' };
    requests.receive(query(1));
    clock.advance(600);
    requests.receive(query(2));
    clock.advance(400);
    requests.rejectCalls(error, 1000);
    expect(told).toEqual([{ kind: 'failure', id: 1, error }]);
    requests.attach(upstream);
    expect(calls()).toEqual([[2, false, 2]]);
  });

  test('after a sign-out nothing connects again by itself, and rows are told anew', () => {
    requests.attach(upstream);
    requests.receive({ kind: 'connect' });
    requests.receive({ kind: 'live', id: 1, sql: 'SELECT 1', parameters: [] });
    deliver(rows(1, 'one'));
    requests.signedOutElsewhere();
    expect(told.at(-1)).toMatchObject({ kind: 'status', status: { lastError: { code: 'CLIENT_SIGNED_OUT' } } });
    asked = [];
    requests.attach(upstream);
    expect(asked).toEqual([{ kind: 'live', id: 1, sql: 'SELECT 1', parameters: [], delivered: undefined }]);
  });
});

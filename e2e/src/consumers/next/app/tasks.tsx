'use client';
import { drizzle } from '@sluice/drizzle';
import { useQuery, useRejected, useStatus, useSuspenseQuery, useWrite } from '@sluice/react';
import { eq } from 'drizzle-orm';
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { client, owner } from './replica';

const tasks = sqliteTable('tasks', { id: integer().primaryKey(), owner: text().notNull(), title: text() });
const db = client && drizzle(client);

export function Count() {
  const [row] = useSuspenseQuery<{ n: number }>('SELECT count(*) AS n FROM tasks');
  return <p>{row?.n} tasks</p>;
}

export function Tasks() {
  const { rows, isLoading, error } = useQuery<{ id: number; title: string }>('SELECT id, title FROM tasks ORDER BY id');
  const write = useWrite();
  const add = (title: string) => {
    const id = Math.max(0, ...rows.map((row) => row.id)) + 1;
    void write({ insert: 'tasks', values: { id, owner, title } });
  };
  if (error) return <p>{error.message}</p>;
  if (isLoading) return <p>loading</p>;
  return (
    <>
      <ul>
        {rows.map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
      <button type="button" onClick={() => add('from the page')}>
        add
      </button>
      <button type="button" onClick={() => add('refused')}>
        add a bad one
      </button>
      <button type="button" onClick={() => void db?.delete(tasks).where(eq(tasks.id, 1)).execute()}>
        delete the first
      </button>
    </>
  );
}

export function State() {
  const { storage, writes } = useStatus();
  const { rejected } = useRejected();
  return (
    <p>
      storage {storage}, {writes.pending} pending, {rejected.length} rejected {rejected.map(({ code }) => code)}
    </p>
  );
}

import { createClient } from '@sluice/client';
import { SluiceDialect, statementOf } from '@sluice/kysely';
import { SluiceProvider, useQuery, useRejected, useStatus, useWrite } from '@sluice/react';
import { Kysely } from 'kysely';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

interface Task {
  readonly id: number;
  readonly owner: string;
  readonly title: string;
}

const settings = new URLSearchParams(location.search);
const client = createClient({
  url: settings.get('url') ?? '',
  project: settings.get('project') ?? '',
  auth: () => settings.get('token') ?? '',
});
client.connect();

const db = new Kysely<{ tasks: Task }>({ dialect: new SluiceDialect({ client }) });
const { sql, parameters } = statementOf(db.selectFrom('tasks').select(['id', 'title']).orderBy('id'));

function Tasks() {
  const { rows, isLoading, error } = useQuery<Pick<Task, 'id' | 'title'>>(sql, parameters);
  const write = useWrite();
  const add = (title: string) => {
    const id = Math.max(0, ...rows.map((row) => row.id)) + 1;
    void write({ insert: 'tasks', values: { id, owner: settings.get('owner') ?? '', title } });
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
      <button type="button" onClick={() => void db.deleteFrom('tasks').where('id', '=', 1).execute()}>
        delete the first
      </button>
    </>
  );
}

function State() {
  const { storage, writes } = useStatus();
  const { rejected } = useRejected();
  return (
    <p>
      storage {storage}, {writes.pending} pending, {rejected.length} rejected {rejected.map(({ code }) => code)}
    </p>
  );
}

const root = document.getElementById('root');
if (root)
  createRoot(root).render(
    <StrictMode>
      <SluiceProvider client={client}>
        <Tasks />
        <State />
      </SluiceProvider>
    </StrictMode>,
  );

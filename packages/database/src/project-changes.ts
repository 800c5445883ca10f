import { type Clock, delay, type ProjectId, parseProjectId } from '@sluice/domain';
import pg from 'pg';

/** `project`: something about that project changed. `all`: changes may have been missed, so read everything again. */
export type ProjectChange = { readonly kind: 'project'; readonly projectId: ProjectId } | { readonly kind: 'all' };

/** Written by the triggers of the project tables, in the transaction that changes them. */
const CHANNEL = 'sluice_project_changed';
const RECONNECT_DELAY_MS = 1_000;

/**
 * Tells `onChange` what other processes and this one change about projects, until `signal` is aborted; resolves when
 * fully stopped. `all` comes first and after each lost connection, so a listener that reads on every change misses nothing.
 */
export async function watchProjectChanges(options: {
  readonly url: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  onChange(change: ProjectChange): void;
  /** The connection was lost or refused; another is tried after a pause. */
  onLost(error: unknown): void;
}): Promise<void> {
  const { clock, signal } = options;
  while (!signal.aborted) {
    try {
      await listen(options);
    } catch (error) {
      options.onLost(error);
    }
    await delay(clock, RECONNECT_DELAY_MS, signal);
  }
}

/** One connection's life: resolves when `signal` is aborted, rejects when the connection ends by itself. */
async function listen(options: Parameters<typeof watchProjectChanges>[0]): Promise<void> {
  const { url, signal } = options;
  const client = new pg.Client({ connectionString: url, keepAlive: true, application_name: 'sluice project changes' });
  const over = new AbortController();
  const ended = new Promise<void>((resolve, reject) => {
    client.on('error', reject);
    client.on('end', () => reject(new Error('the connection ended')));
    signal.addEventListener('abort', () => resolve(), { signal: over.signal });
  });
  // The promise is awaited only once listening; an earlier failure reaches us through connect or query.
  ended.catch(() => undefined);
  client.on('notification', ({ payload }) => options.onChange(changeFromPayload(payload)));
  try {
    await client.connect();
    await client.query(`LISTEN ${CHANNEL}`);
    options.onChange({ kind: 'all' });
    await ended;
  } finally {
    over.abort();
    await client.end().catch(() => undefined);
  }
}

/** Anyone who may connect may notify, so a payload that is not ours only costs a full read. */
function changeFromPayload(payload: string | undefined): ProjectChange {
  if (!/^[1-9]\d{0,9}$/.test(payload ?? '')) return { kind: 'all' };
  try {
    return { kind: 'project', projectId: parseProjectId(Number(payload)) };
  } catch {
    return { kind: 'all' };
  }
}

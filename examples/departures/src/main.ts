import { createClient, type SluiceClient, SluiceError, type Status, type WriteOperation } from '@sluice/client';
import { DEPARTURES_SQL, type Departure, drawBoard, type EditableColumn } from './board.ts';
import { drawNotes, NOTES_SQL, type Note } from './notes.ts';
import { drawRefusals } from './refusals.ts';
import { openSession, readSimulator, readUsers, setSimulator } from './session.ts';

const USER_KEY = 'departures.user';
const BOARD_BACK_MS = 30 * 60_000;
const STORAGE_TEXT = {
  opfs: 'kept on this device (OPFS)',
  file: 'kept in a file',
  memory: 'in memory only: not kept',
  opening: 'opening',
};

function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}
const userSelect = byId('user', HTMLSelectElement);
const searchInput = byId('search', HTMLInputElement);
const networkButton = byId('network', HTMLButtonElement);
const simulatorButton = byId('simulator', HTMLButtonElement);
const board = byId('board', HTMLTableSectionElement);
const empty = byId('empty', HTMLElement);
const problem = byId('problem', HTMLElement);
const refusals = byId('refusals', HTMLElement);
const notes = byId('notes', HTMLUListElement);
const noteForm = byId('note-form', HTMLFormElement);
const noteAirport = byId('note-airport', HTMLSelectElement);
const noteText = byId('note-text', HTMLInputElement);
const progress = byId('progress', HTMLProgressElement);

let client: SluiceClient | undefined;
let live: { unsubscribe(): void } | undefined;
let liveNotes: { unsubscribe(): void } | undefined;
let isOnline = true;

/** Shows one user's board; the database of the user before stays on the device, for when they come back. */
async function signIn(user: string): Promise<void> {
  live?.unsubscribe();
  liveNotes?.unsubscribe();
  await client?.close();
  localStorage.setItem(USER_KEY, user);
  drawBoard(board, [], { flash: false, onEdit: write });
  refusals.hidden = true;
  const project = localStorage.getItem('departures.project') ?? '';
  const cachedUrl = localStorage.getItem('departures.gateway') ?? '';
  // The session is asked for when it is first needed, so that the board also starts without the server.
  const session = await openSession(user).catch(() => undefined);
  if (session) {
    localStorage.setItem('departures.project', session.project);
    localStorage.setItem('departures.gateway', session.gatewayUrl);
  }
  client = createClient({
    url: session?.gatewayUrl ?? cachedUrl,
    project: session?.project ?? project,
    name: user,
    auth: async () => (await openSession(user)).token,
  });
  client.onStatus(showStatus);
  if (isOnline) client.connect();
  watchBoard();
  watchNotes(user);
  await showAirports();
}

function watchBoard(): void {
  live?.unsubscribe();
  if (!client) return;
  const since = new Date(Date.now() - BOARD_BACK_MS).toISOString().slice(0, 19).replace('T', ' ');
  let isFirst = true;
  live = client.live<Departure>(DEPARTURES_SQL, [since, searchInput.value.trim()], (departures, info) => {
    drawBoard(board, departures, { flash: !isFirst, onEdit: write });
    empty.hidden = departures.length > 0;
    empty.textContent = searchInput.value === '' ? 'No departures at your airports.' : 'Nothing matches.';
    if (!isFirst && info.checkpoint) showLatency(info.checkpoint.committedAtMs);
    isFirst = false;
    void showCounts();
  });
}

function watchNotes(user: string): void {
  const onDelete = (id: string): void => commit({ delete: 'notes', key: { id } });
  liveNotes = client?.live<Note>(NOTES_SQL, [], (rows) => drawNotes(notes, rows, { user, onDelete }));
  noteForm.onsubmit = (event) => {
    event.preventDefault();
    const values = { id: crypto.randomUUID(), airport: noteAirport.value, crew_id: user, body: noteText.value.trim() };
    commit({ insert: 'notes', values });
    noteForm.reset();
  };
}

function write(departure: Departure, column: EditableColumn, value: string): void {
  commit({
    update: 'flights',
    values: { id: departure.id, [column]: value === '' && column === 'remark' ? null : value },
  });
}

/** Seen at once, sent when there is a connection; a refusal comes back with a checkpoint. */
function commit(operation: WriteOperation): void {
  client?.write(operation).catch((error: unknown) => {
    problem.hidden = false;
    problem.textContent = error instanceof SluiceError ? error.message : String(error);
  });
}

/** Asked for only when their number changes. */
let refusalsShown = 0;
async function showRefusals(count: number): Promise<void> {
  if (count === refusalsShown) return;
  refusalsShown = count;
  const of = client;
  const rejected = (await of?.rejected()) ?? [];
  drawRefusals(refusals, rejected, {
    dismiss: (id) => void of?.dismiss(id),
    again: (refused) => void of?.write(refused.operations).then(() => of.dismiss(refused.id)),
  });
}

/** Measured after the frame that shows the change, against the source's commit time; page and server share a clock here. */
function showLatency(committedAtMs: number): void {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      const ms = Date.now() - committedAtMs;
      if (ms > 60_000) return;
      byId('latency', HTMLElement).textContent = `${Math.max(0, Math.round(ms))} ms`;
      byId('latency-note', HTMLElement).textContent = 'Postgres commit to this screen';
    };
    channel.port2.postMessage(undefined);
  });
}

async function showCounts(): Promise<void> {
  if (!client) return;
  const startMs = performance.now();
  const [count] = await client.query<{ rows: number }>(
    'select (select count(*) from flights) + (select count(*) from airports) + (select count(*) from assignments) as rows',
  );
  byId('query-time', HTMLElement).textContent = `${(performance.now() - startMs).toFixed(1)} ms`;
  if (count) byId('rows', HTMLElement).textContent = count.rows.toLocaleString('en');
}

async function showAirports(): Promise<void> {
  await client?.ready();
  const rows = await client?.query<{ city: string | null; iata: string }>(
    'select a.iata, a.city from assignments s join airports a on a.iata = s.airport order by a.iata',
  );
  byId('airports', HTMLElement).textContent = rows?.length
    ? rows.map((row) => `${row.city ?? row.iata} (${row.iata})`).join(' · ')
    : 'No airports assigned';
  noteAirport.replaceChildren(...(rows ?? []).map(({ iata }) => new Option(iata)));
}

function showStatus(status: Status): void {
  const connection = byId('connection', HTMLElement);
  const isLive = status.connection === 'connected';
  connection.textContent = isLive ? (status.progress ? 'downloading' : 'live') : status.connection;
  connection.className = isLive ? 'good' : status.connection === 'connecting' ? 'warn' : 'bad';
  const { pending, rejected } = status.writes;
  void showRefusals(rejected);
  const waiting =
    pending === 0 ? undefined : `${pending} ${pending === 1 ? 'change waits' : 'changes wait'} to be confirmed`;
  byId('connection-note', HTMLElement).textContent = waiting ?? checkpointNote(status);
  connection.dataset.pending = String(pending);
  byId('storage', HTMLElement).textContent = STORAGE_TEXT[status.storage ?? 'opening'];
  progress.hidden = !status.progress;
  if (status.progress) progress.value = status.progress.bytesDone / Math.max(1, status.progress.bytesTotal);
  problem.hidden = !status.lastError || isLive;
  problem.textContent = status.lastError ? `${status.lastError.message} ${status.lastError.remedy}` : '';
}

function checkpointNote({ checkpoint }: Status): string {
  return checkpoint
    ? `checkpoint of ${new Date(checkpoint.committedAtMs).toISOString().slice(11, 19)} UTC`
    : 'nothing synced yet';
}

function showSimulator(running: boolean): void {
  simulatorButton.disabled = false;
  simulatorButton.textContent = running ? 'Stop traffic' : 'Start traffic';
  simulatorButton.onclick = () => void setSimulator(!running).then((state) => showSimulator(state.running));
}

networkButton.onclick = () => {
  isOnline = !isOnline;
  networkButton.textContent = isOnline ? 'Go offline' : 'Go online';
  if (isOnline) client?.connect();
  else client?.disconnect();
};
userSelect.onchange = () => void signIn(userSelect.value);
searchInput.oninput = watchBoard;
setInterval(() => {
  byId('clock', HTMLElement).textContent = new Date().toISOString().slice(11, 19);
}, 500);

const users = await readUsers().catch(() => undefined);
const wanted =
  new URLSearchParams(location.search).get('user') ?? localStorage.getItem(USER_KEY) ?? users?.[0]?.id ?? 'amelia';
for (const user of users ?? [{ id: wanted, name: wanted, role: 'offline' }])
  userSelect.append(new Option(`${user.name}, ${user.role}`, user.id, false, user.id === wanted));
userSelect.disabled = !users;
void readSimulator().then(
  (state) => showSimulator(state.running),
  () => {},
);
await signIn(wanted);

/** One line of the board, as the query below gives it. */
export interface Departure {
  readonly id: number;
  readonly flight_no: string;
  readonly departs_at: string;
  readonly origin: string;
  readonly origin_city: string | null;
  readonly destination: string;
  readonly destination_city: string | null;
  readonly distance: number;
  readonly delay: number;
  readonly gate: string;
  readonly status: string;
  readonly remark: string | null;
}

/** Flights from half an hour ago on. Times are text that sorts as time: `2026-01-31 08:05:00+00:00`. */
export const DEPARTURES_SQL = `
  select f.id, f.flight_no, f.departs_at, f.origin, o.city as origin_city, f.destination, d.city as destination_city,
         f.distance, f.delay, f.gate, f.status, f.remark
  from flights f
  left join airports o on o.iata = f.origin
  left join airports d on d.iata = f.destination
  where f.departs_at >= ?1
    and (?2 = '' or f.flight_no like '%' || ?2 || '%' or f.origin like ?2 || '%' or f.destination like ?2 || '%' or f.gate like ?2 || '%'
         or o.city like '%' || ?2 || '%' or d.city like '%' || ?2 || '%')
  order by f.departs_at, f.id
  limit 24`;

/** What crews may write of a flight; the source decides who may write which. */
export type EditableColumn = 'gate' | 'remark' | 'status';
export type OnEdit = (departure: Departure, column: EditableColumn, value: string) => void;

const STATUSES = ['on time', 'delayed', 'boarding', 'departed', 'cancelled'];

const rowById = new Map<number, { readonly row: HTMLTableRowElement; readonly shown: string }>();

/**
 * Draws the departures into `body`, reusing rows, and flashes those that changed since the last drawing. A row that somebody is
 * editing stays as it is until they are done.
 */
export function drawBoard(
  body: HTMLTableSectionElement,
  departures: readonly Departure[],
  { flash, onEdit }: { readonly flash: boolean; readonly onEdit: OnEdit },
): void {
  const kept = new Set<number>();
  departures.forEach((departure, index) => {
    kept.add(departure.id);
    const shown = JSON.stringify(departure);
    const old = rowById.get(departure.id);
    const isEdited = old?.row.querySelector('input, select') !== null && old !== undefined;
    const row = old && (isEdited || old.shown === shown) ? old.row : drawRow(departure, onEdit);
    if (old && old.row !== row) old.row.remove();
    if (old && old.row !== row && flash) row.classList.add('changed');
    rowById.set(departure.id, { row, shown: isEdited ? old.shown : shown });
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  for (const [id, { row }] of rowById)
    if (!kept.has(id)) {
      row.remove();
      rowById.delete(id);
    }
}

function drawRow(departure: Departure, onEdit: OnEdit): HTMLTableRowElement {
  const row = document.createElement('tr');
  const due = new Date(departure.departs_at.replace(' ', 'T'));
  const time = cell(row);
  if (departure.delay > 0) {
    time.append(element('span', clockTime(due), 'late'));
    due.setMinutes(due.getMinutes() + departure.delay);
  }
  time.append(clockTime(due));
  cell(row, departure.flight_no);
  place(cell(row), departure.origin, departure.origin_city);
  place(cell(row), departure.destination, departure.destination_city);
  cell(row, String(departure.distance)).classList.add('num');
  const edit = (column: EditableColumn): void => {
    const at = row.querySelector<HTMLElement>(`[data-column=${column}]`);
    if (at) openEditor(at, departure, column, onEdit);
  };
  cell(row).append(editButton('gate', departure.gate, () => edit('gate')));
  const status = editButton('status', departure.status, () => edit('status'));
  status.classList.add('pill', departure.status.replace(' ', '-'));
  cell(row).append(status);
  cell(row).append(editButton('remark', departure.remark ?? '', () => edit('remark')));
  return row;
}

function editButton(column: EditableColumn, text: string, onClick: () => void): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'edit';
  button.dataset.column = column;
  button.textContent = text === '' ? '…' : text;
  button.title = `Change the ${column}`;
  button.onclick = onClick;
  return button;
}

/** Puts a field in place of the button. Enter or another place keeps what was typed, Escape does not. */
function openEditor(button: HTMLElement, departure: Departure, column: EditableColumn, onEdit: OnEdit): void {
  const before = departure[column] ?? '';
  const field = column === 'status' ? statusField(before) : textField(before);
  field.setAttribute('aria-label', `${column} of ${departure.flight_no}`);
  let isOver = false;
  const close = (isKept: boolean): void => {
    if (isOver) return;
    isOver = true;
    field.replaceWith(button);
    if (isKept && field.value.trim() !== before) onEdit(departure, column, field.value.trim());
  };
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') close(true);
    if (event.key === 'Escape') close(false);
  });
  field.addEventListener('blur', () => close(true));
  if (column === 'status') field.addEventListener('change', () => close(true));
  button.replaceWith(field);
  field.focus();
}
function textField(value: string): HTMLInputElement {
  const field = document.createElement('input');
  field.value = value;
  field.maxLength = 40;
  return field;
}
function statusField(value: string): HTMLSelectElement {
  const field = document.createElement('select');
  for (const status of new Set([value, ...STATUSES])) field.append(new Option(status, status, false, status === value));
  return field;
}

function cell(row: HTMLTableRowElement, text = ''): HTMLTableCellElement {
  const made = row.insertCell();
  made.textContent = text;
  return made;
}
function element(tag: string, text: string, className = ''): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}
function place(into: HTMLTableCellElement, iata: string, city: string | null): void {
  into.classList.add('place');
  into.append(element('b', iata), element('small', city ?? ''));
}
function clockTime(at: Date): string {
  return at.toISOString().slice(11, 16);
}

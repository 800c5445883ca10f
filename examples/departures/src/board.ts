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

const rowById = new Map<number, { readonly row: HTMLTableRowElement; readonly shown: string }>();

/** Draws the departures into `body`, reusing rows, and flashes those that changed since the last drawing. */
export function drawBoard(body: HTMLTableSectionElement, departures: readonly Departure[], flash: boolean): void {
  const kept = new Set<number>();
  departures.forEach((departure, index) => {
    kept.add(departure.id);
    const shown = JSON.stringify(departure);
    const old = rowById.get(departure.id);
    const row = old?.shown === shown ? old.row : drawRow(departure);
    if (old && old.row !== row) old.row.remove();
    if (old && old.shown !== shown && flash) row.classList.add('changed');
    rowById.set(departure.id, { row, shown });
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  for (const [id, { row }] of rowById)
    if (!kept.has(id)) {
      row.remove();
      rowById.delete(id);
    }
}

function drawRow(departure: Departure): HTMLTableRowElement {
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
  cell(row, departure.gate);
  cell(row).append(element('span', departure.status, `pill ${departure.status.replace(' ', '-')}`));
  cell(row, departure.remark ?? '');
  return row;
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

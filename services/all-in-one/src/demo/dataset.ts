import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

export interface Airport {
  readonly iata: string;
  readonly name: string;
  readonly city: string | null;
  readonly state: string | null;
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
}
export interface Flight {
  readonly id: number;
  readonly flightNo: string;
  readonly origin: string;
  readonly destination: string;
  readonly departsAtMs: number;
  readonly distance: number;
  readonly delay: number;
}

/** Real US airports and flights of early 2001, from the npm package `vega-datasets`. */
export async function readDataset(): Promise<{ airports: Airport[]; flights: Flight[] }> {
  // The package exports its build alone; its data folder is its build folder's neighbour.
  const build = path.dirname(createRequire(import.meta.url).resolve('vega-datasets'));
  const data = path.join(build, '..', 'data');
  const airports = parseAirports(await readFile(path.join(data, 'airports.csv'), 'utf8'));
  const flights = parseFlights(await readFile(path.join(data, 'flights-20k.json'), 'utf8'));
  const known = new Set(airports.map((airport) => airport.iata));
  return { airports, flights: flights.filter((flight) => known.has(flight.origin) && known.has(flight.destination)) };
}

function parseAirports(csv: string): Airport[] {
  const [, ...lines] = csv.trimEnd().split(/\r?\n/);
  return lines.map((line) => {
    const [iata = '', name = '', city = '', state = '', country = '', latitude = '', longitude = ''] = splitCsv(line);
    return {
      iata,
      name,
      city: presentOrNull(city),
      state: presentOrNull(state),
      country,
      latitude: Number(latitude),
      longitude: Number(longitude),
    };
  });
}
function presentOrNull(value: string): string | null {
  return value === '' || value === 'NA' ? null : value;
}

/** One line of RFC 4180 CSV without line breaks inside quotes, which this file does not have. */
function splitCsv(line: string): string[] {
  const fields: string[] = [];
  for (const match of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g))
    fields.push(match[1] === undefined ? (match[2] ?? '') : match[1].replaceAll('""', '"'));
  return fields;
}

interface FlightRecord {
  readonly date: string;
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

const CARRIERS = ['AA', 'UA', 'DL', 'WN', 'NW', 'US', 'AS', 'CO'] as const;

function parseFlights(json: string): Flight[] {
  const records = JSON.parse(json) as FlightRecord[]; // The file is a pinned package's; its shape is known.
  return records.map((record, index) => ({
    id: index + 1,
    // The set has no flight numbers: this one is made from the row's place, so that it never changes.
    flightNo: `${CARRIERS[index % CARRIERS.length]}${100 + (index % 8900)}`,
    origin: record.origin,
    destination: record.destination,
    departsAtMs: Date.parse(`${record.date.replaceAll('/', '-').replace(' ', 'T')}:00Z`),
    distance: record.distance,
    delay: record.delay,
  }));
}

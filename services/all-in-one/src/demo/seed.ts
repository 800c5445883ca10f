import type { Clock } from '@sluice/domain';
import { WRITES_TABLES_SQL } from '@sluice/sync-rules';
import type pg from 'pg';
import { DEMO_CREW } from './crew.ts';
import { readDataset } from './dataset.ts';
import { replicationRoleSql, TENANT_SCHEMA_SQL, TENANT_WRITES_SQL } from './tenant-schema.ts';

const DAY_MS = 86_400_000;
const ROWS_PER_INSERT = 1000;

/**
 * Fills an empty tenant database once; does nothing when it is filled. All in one transaction, so a kill in the middle
 * leaves it empty. Flights are moved by whole days so that the set's middle day is today: times of day stay real.
 */
export async function seedTenant(
  client: pg.Client,
  clock: Clock,
  replicationPassword: string,
): Promise<'seeded' | 'present'> {
  const present = await client.query("select to_regclass('public.flights') is not null as present");
  if (present.rows[0]?.present === true) return 'present';
  const { airports, flights } = await readDataset();
  await client.query('begin');
  await client.query(TENANT_SCHEMA_SQL);
  await insertMany(
    client,
    'airports',
    airports.map((a) => ({ ...a })),
  );
  const shiftMs = daysToToday(
    flights.map((flight) => flight.departsAtMs),
    clock.nowMs(),
  );
  await insertMany(
    client,
    'flights',
    flights.map((flight) => ({
      id: flight.id,
      flight_no: flight.flightNo,
      origin: flight.origin,
      destination: flight.destination,
      departs_at: new Date(flight.departsAtMs + shiftMs).toISOString(),
      distance: flight.distance,
      delay: flight.delay,
      gate: `${'ABCDE'[flight.id % 5]}${1 + (flight.id % 38)}`,
      status: flight.delay > 15 ? 'delayed' : 'on time',
      remark: null,
    })),
  );
  await insertMany(
    client,
    'crew',
    DEMO_CREW.map(({ id, name, role }) => ({ id, name, role })),
  );
  await insertMany(
    client,
    'assignments',
    DEMO_CREW.flatMap((crew) => crew.airports.map((airport) => ({ crew_id: crew.id, airport }))),
  );
  const database = await client.query('select current_database() as name');
  await client.query(replicationRoleSql(String(database.rows[0]?.name), client.escapeLiteral(replicationPassword)));
  await client.query('commit');
  return 'seeded';
}

/** Lets crews write, also where the database was filled by an edition that only read. */
export async function prepareWrites(client: pg.Client): Promise<void> {
  await client.query('begin');
  await client.query(WRITES_TABLES_SQL);
  await client.query(TENANT_WRITES_SQL);
  await client.query('commit');
}

function daysToToday(departures: readonly number[], nowMs: number): number {
  const sorted = departures.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? nowMs;
  return (Math.floor(nowMs / DAY_MS) - Math.floor(middle / DAY_MS)) * DAY_MS;
}

/** Column names are constants of this folder, never input. */
async function insertMany(client: pg.Client, table: string, rows: readonly Record<string, unknown>[]): Promise<void> {
  const first = rows[0];
  if (!first) return;
  const columns = Object.keys(first).join(', ');
  for (let at = 0; at < rows.length; at += ROWS_PER_INSERT)
    await client.query(
      `insert into ${table} (${columns}) select ${columns} from json_populate_recordset(null::${table}, $1::json)`,
      [JSON.stringify(rows.slice(at, at + ROWS_PER_INSERT))],
    );
}

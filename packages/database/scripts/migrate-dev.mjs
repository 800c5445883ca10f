// Authors migrations of the control plane and checks that they and schema.prisma agree. Needs DATABASE_URL: a Postgres
// whose role may create databases.
//   dev <name>   write what schema.prisma adds as a new migration
//   --check      exit 2 when the migrations and schema.prisma differ
//   status       what the engine thinks of the database's own history
import { openSchemaEngine } from './schema-engine.mjs';

const [verb, argument] = process.argv.slice(2);
const url = process.env.DATABASE_URL;
if (
  !url ||
  !['dev', '--check', 'status'].includes(verb ?? '') ||
  (verb === 'dev' && !/^[a-z0-9_]+$/.test(argument ?? ''))
) {
  process.stderr.write('usage: DATABASE_URL=... migrate-dev.mjs dev <name_in_lower_case> | --check | status\n');
  process.exit(64);
}

const engine = await openSchemaEngine(url);
try {
  process.exitCode = await run();
} finally {
  await engine.close();
}
// The adapter keeps idle connections that would hold the process.
process.exit();

async function run() {
  if (verb === 'dev') {
    const name = await engine.create(argument);
    say(name ? `wrote migrations/${name}/migration.sql` : 'nothing changed');
    return 0;
  }
  if (verb === 'status') {
    say(JSON.stringify(await engine.diagnose(), null, 2));
    return 0;
  }
  const drift = await engine.drift();
  say(drift ? `schema.prisma holds what no migration does:\n${drift}` : 'migrations and schema.prisma agree');
  return drift ? 2 : 0;
}

function say(text) {
  process.stdout.write(`${text}\n`);
}

import { createClient } from '@sluice/node';

const [url, project, token] = process.argv.slice(2);
const sluice = await createClient({ url, project, auth: () => token });
sluice.connect();
await sluice.ready();
process.stdout.write(JSON.stringify(await sluice.query('SELECT title FROM tasks ORDER BY id')));
await sluice.close();

import { loadModule } from './browser/load-module.ts';
import { serveWorker } from './browser/serve-worker.ts';
import { systemClock } from './system-clock.ts';
import { systemRandom } from './system-random.ts';

serveWorker({
  loadModule,
  openSocket: (url, subprotocol) => new WebSocket(url, subprotocol),
  clock: systemClock,
  random: systemRandom,
  onStep: undefined,
});

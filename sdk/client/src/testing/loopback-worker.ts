import { loadModule } from '../browser/load-module.ts';
import { serveWorker } from '../browser/serve-worker.ts';
import { systemClock } from '../system-clock.ts';
import { systemRandom } from '../system-random.ts';
import { LoopbackSocket } from './loopback-socket.ts';

/**
 * Told `mute`, it answers no other tab any more, as if it had died with its answers unsent. Told `no-opfs`, it is in a browser whose
 * workers have no files. Told `hurry`, it loses its patience ten times as fast.
 */
let haste = 1;
addEventListener('message', (event: MessageEvent<unknown>) => {
  if (event.data === 'mute') BroadcastChannel.prototype.postMessage = () => undefined;
  else if (event.data === 'no-opfs') Reflect.deleteProperty(FileSystemFileHandle.prototype, 'createSyncAccessHandle');
  else if (event.data === 'hurry') haste = 10;
  else return;
  event.stopImmediatePropagation();
});

/** The worker as it is shipped, but for its network: the url's query says what the gateway within it has. */
serveWorker({
  loadModule,
  openSocket: (url) => {
    const query = new URL(url).searchParams;
    return new LoopbackSocket({ rows: Number(query.get('rows')), lastLsn: Number(query.get('lastLsn')) });
  },
  clock: {
    nowMs: () => systemClock.nowMs(),
    monotonicMs: () => haste * systemClock.monotonicMs(),
    setTimer: (delayMs, fn) => systemClock.setTimer(delayMs / haste, fn),
  },
  random: systemRandom,
  onStep: undefined,
});

import { type WorkerPorts, WorkerServer } from './worker-server.ts';

/** The worker's side of the page, as the DOM types have it only for pages. */
interface WorkerScope {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  addEventListener(type: 'online', listener: () => void): void;
}

/** Serves the page that started this worker. */
export function serveWorker(ports: Omit<WorkerPorts, 'post'>): void {
  const scope = globalThis as unknown as WorkerScope;
  const server = new WorkerServer({ ...ports, post: (message, transfer) => scope.postMessage(message, transfer) });
  scope.addEventListener('message', (event) => server.receive(event.data));
  scope.addEventListener('online', () => server.online());
}

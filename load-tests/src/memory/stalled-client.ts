import { once } from 'node:events';
import { encodeClientMessage, PROTOCOL_VERSION, SUBPROTOCOL_BINARY } from '@sluice/protocol';
import { WebSocket } from 'ws';
import { PROJECT_REF } from '../stack.ts';

/** A client that asks for everything it may have and reads nothing from then on, as a tab does that was put to sleep. */
export async function connectStalled(gatewayUrl: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(gatewayUrl, [SUBPROTOCOL_BINARY], { perMessageDeflate: false });
  socket.on('error', () => {});
  await once(socket, 'open');
  const who = { project: PROJECT_REF, token, clientId: 'stalled', sdk: 'bench' };
  socket.send(encodeClientMessage({ type: 'hello', version: PROTOCOL_VERSION, ...who, resume: undefined }));
  await once(socket, 'message');
  socket.pause();
  return socket;
}

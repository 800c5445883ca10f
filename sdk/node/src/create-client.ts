import {
  ClientCore,
  coded,
  InProcessClient,
  memoryStorage,
  SDK_NAME,
  type SluiceClient,
  sluiceError,
  systemClock,
  systemRandom,
  type WebSocketLike,
} from '@sluice/client/core';
import WebSocket from 'ws';
import { inflateNative } from './inflate-native.ts';
import { loadSqlite } from './load-sqlite.ts';
import { fileStorage } from './storage.ts';

export interface ClientOptions {
  /** Address of the sync gateway, `ws:` or `wss:`. */
  readonly url: string;
  readonly project: string;
  /** Gives a token of the user; called at each connect and before a token ends. */
  readonly auth: () => string | Promise<string>;
  /** A database file of this process alone; without it, the rows live in memory. */
  readonly file?: string;
}

/** Bytes; above the largest message of the protocol. */
const PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Opens the database; connecting is up to the caller.
 * @throws SluiceError CLIENT_OPTIONS_INVALID, CLIENT_STORAGE_BUSY, CLIENT_STORAGE_FAILED
 */
export async function createClient(options: ClientOptions): Promise<SluiceClient> {
  try {
    checkOptions(options);
    const { url, project, auth, file } = options;
    const module = await loadSqlite();
    const storage = file === undefined ? memoryStorage(module, undefined) : fileStorage(module, file);
    let client: InProcessClient | undefined;
    try {
      const core = new ClientCore({
        project,
        sdk: `node-${SDK_NAME}`,
        module,
        storage,
        clock: systemClock,
        random: systemRandom,
        openSocket: (subprotocol) => openSocket(url, subprotocol),
        fetchToken: async () => auth(),
        onStatus: (status) => client?.statusChanged(status),
        bufferedBytesMax: undefined,
        inflate: inflateNative,
        onStep: undefined,
      });
      client = new InProcessClient(core);
      return client;
    } catch (error) {
      storage.release();
      throw error;
    }
  } catch (error) {
    throw sluiceError(error);
  }
}

function openSocket(url: string, subprotocol: string): WebSocketLike {
  // `ws` has the browser's interface; its types only spell the events' types differently.
  return new WebSocket(url, subprotocol, {
    maxPayload: PAYLOAD_BYTES_MAX,
    perMessageDeflate: false,
  }) as unknown as WebSocketLike;
}

function checkOptions({ url, project, auth }: ClientOptions): void {
  if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) throw coded('CLIENT_OPTIONS_INVALID', 'url is not a ws: address');
  if (typeof project !== 'string' || project === '') throw coded('CLIENT_OPTIONS_INVALID', 'project is empty');
  if (typeof auth !== 'function') throw coded('CLIENT_OPTIONS_INVALID', 'auth is not a function');
}

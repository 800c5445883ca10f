import { isOfThisVersion, type LobbyMessage, lobbyName, parseLobbyMessage, TABS_VERSION } from './tab-messages.ts';

export interface LobbyListener {
  readonly onMessage: (message: LobbyMessage) => void;
  /** A tab of another version of the SDK is here; of its messages only the kind is known. */
  readonly onOtherVersion: (kind: string) => void;
}
type Unversioned<Message> = Message extends unknown ? Omit<Message, 'sluice'> : never;

/** Where the tabs of one database find each other. What it carries is small, and holds no rows. */
export class Lobby {
  readonly database: string;
  readonly #channel: BroadcastChannel;
  readonly #listeners = new Set<LobbyListener>();

  constructor(database: string) {
    this.database = database;
    this.#channel = new BroadcastChannel(lobbyName(database));
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => this.#received(data);
  }

  post(message: Unversioned<LobbyMessage>): void {
    this.#channel.postMessage({ sluice: TABS_VERSION, ...message });
  }
  /** The returned function ends it. */
  listen(listener: LobbyListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  #received(data: unknown): void {
    const message = parseLobbyMessage(data);
    if (!message) return;
    for (const { onMessage, onOtherVersion } of this.#listeners)
      if (isOfThisVersion(message)) onMessage(message);
      else onOtherVersion(message.kind);
  }
  close(): void {
    this.#channel.close();
  }
}

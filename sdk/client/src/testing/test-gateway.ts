import type { BucketId } from '@sluice/domain';
import {
  type ClientMessage,
  decodeClientMessage,
  encodeServerMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
} from '@sluice/protocol';
import type { WebSocketLike } from '../core/sync/sync-driver.ts';
import type { ModelSource } from './model-source.ts';

type Hello = Extract<ClientMessage, { type: 'hello' }>;
type Upload = Extract<ClientMessage, { type: 'upload' }>;

/**
 * A gateway for one client in the same thread, over the model: it answers a hello with what the client lacks, and `push`
 * sends the next checkpoint. `tamper` may change or add bytes on the wire.
 */
export class TestGateway {
  readonly #source: ModelSource;
  readonly hellos: Hello[] = [];
  readonly received: ClientMessage[] = [];
  readonly uploads: Upload[] = [];
  wanted: ReadonlySet<BucketId>;
  /** What it says of writes; nothing unless set. */
  writes: Extract<ServerMessage, { type: 'writes' }> | undefined;
  tamper: (bytes: Uint8Array<ArrayBuffer>) => readonly Uint8Array<ArrayBuffer>[] = (bytes) => [bytes];
  /** Buckets as of the last checkpoint that was sent on this connection. */
  #given: ReadonlySet<BucketId> = new Set();
  #socket: TestSocket | undefined;

  constructor(source: ModelSource, wanted: Iterable<BucketId>) {
    this.#source = source;
    this.wanted = new Set(wanted);
  }

  /** The socket of a new connection; it opens when the gateway is asked to `accept`. */
  connect(): WebSocketLike {
    this.#socket = new TestSocket((message) => this.#receive(message));
    return this.#socket;
  }
  accept(): void {
    this.#socket?.onopen?.(undefined as never);
  }
  get isConnected(): boolean {
    return this.#socket?.isOpen === true;
  }
  hangUp(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.onclose?.(undefined as never);
  }
  send(...messages: readonly ServerMessage[]): void {
    for (const message of messages)
      for (const bytes of this.tamper(encodeServerMessage(message))) this.#socket?.deliver(bytes);
  }
  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    this.#socket?.deliver(bytes);
  }

  /** The numbers of the uploads that came, in their order; forgets them. */
  takeUploads(): number[] {
    const seqs = this.uploads.map(({ seq }) => seq);
    this.uploads.length = 0;
    return seqs;
  }

  /** The next checkpoint, with everything that the model recorded since the last. */
  push(replaced: ReadonlySet<BucketId> = new Set()): void {
    const held = this.#given;
    this.#given = this.wanted;
    this.send(
      ...this.#source.checkpointMessages({ held, wanted: this.wanted, replaced, reset: false, opsPerChunk: 7 }),
    );
  }

  #receive(message: ClientMessage): void {
    this.received.push(message);
    if (message.type === 'upload') this.uploads.push(message);
    if (message.type !== 'hello') return;
    this.hellos.push(message);
    this.send(
      { type: 'welcome', version: PROTOCOL_VERSION, session: 's', pingIntervalMs: 20_000 },
      ...(this.writes ? [this.writes] : []),
      this.#source.schemaMessage(),
    );
    const { resume } = message;
    // Changes since the client's checkpoint are not kept, so whatever it claims comes again whole.
    const held = new Set(resume?.buckets ?? []);
    const reset = resume === undefined || resume.epoch !== this.#source.epoch;
    this.#given = this.wanted;
    this.send(...this.#source.checkpointMessages({ held, wanted: this.wanted, replaced: this.wanted, reset }));
  }
}

class TestSocket implements WebSocketLike {
  binaryType = 'arraybuffer';
  readonly protocol = '';
  onopen: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  isOpen = true;
  readonly #receive: (message: ClientMessage) => void;

  constructor(receive: (message: ClientMessage) => void) {
    this.#receive = receive;
  }
  send(data: Uint8Array<ArrayBuffer>): void {
    if (this.isOpen) this.#receive(decodeClientMessage(data));
  }
  close(): void {
    this.isOpen = false;
  }
  deliver(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.isOpen) this.onmessage?.({ data: bytes.slice().buffer } as never);
  }
}

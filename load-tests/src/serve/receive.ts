import { inflateRawSync } from 'node:zlib';
import { Checksum, Hash64, tableSeed } from '@sluice/domain';
import {
  CODEC_DEFLATE_RAW,
  decodeServerMessage,
  encodeClientMessage,
  forEachOp,
  PROTOCOL_VERSION,
  type ServerMessage,
  SUBPROTOCOL_BINARY,
} from '@sluice/protocol';
import { WebSocket } from 'ws';
import { PROJECT_REF } from '../stack.ts';

export interface Received {
  readonly rows: number;
  /** Of messages, as they came over the wire. */
  readonly bytes: number;
  readonly durationMs: number;
}

interface Tally {
  readonly seed: number;
  readonly sum: Checksum;
  rows: number;
}

const hash = new Hash64();

/**
 * A client that keeps nothing: receives its first checkpoint, inflates every chunk, hashes every row and compares each
 * bucket's checksum and count with the gateway's. Timed from before connecting to the last comparison.
 * @throws Error when a bucket does not add up
 */
export function receive(gatewayUrl: string, token: string): Promise<Received> {
  const startMs = performance.now();
  const socket = new WebSocket(gatewayUrl, [SUBPROTOCOL_BINARY], { perMessageDeflate: false });
  socket.binaryType = 'nodebuffer';
  return new Promise((resolve, reject) => {
    const client = new ReceivingClient();
    socket.on('open', () => socket.send(encodeClientMessage(helloOf(token))));
    socket.on('error', reject);
    socket.on('close', (code, reason) => reject(new Error(`closed with ${code} ${reason.toString()}`)));
    socket.on('message', (data: Buffer) => {
      try {
        const totals = client.take(data);
        if (!totals) return;
        resolve({ ...totals, durationMs: performance.now() - startMs });
        socket.close(1000);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
        socket.terminate();
      }
    });
  });
}

class ReceivingClient {
  private bytes = 0;
  private readonly seedByStream = new Map<number, number>();
  private readonly tallyByNo = new Map<number, Tally>();

  /** The totals, once the checkpoint has ended. */
  take(data: Buffer): { rows: number; bytes: number } | undefined {
    this.bytes += data.length;
    const message = decodeServerMessage(data);
    if (message.type === 'schema')
      for (const { stream, table } of message.streams) this.seedByStream.set(stream, tableSeed(table));
    if (message.type === 'checkpoint')
      for (const { no, stream } of message.replace)
        this.tallyByNo.set(no, { seed: this.seedByStream.get(stream) ?? 0, sum: new Checksum(), rows: 0 });
    if (message.type === 'chunk') this.count(message);
    return message.type === 'checkpoint-end' ? this.compared(message) : undefined;
  }

  private count(chunk: Extract<ServerMessage, { type: 'chunk' }>): void {
    const tally = this.tallyByNo.get(chunk.no);
    if (!tally) throw new Error('a chunk of no bucket');
    const ops =
      chunk.codec === CODEC_DEFLATE_RAW
        ? inflateRawSync(chunk.payload, { maxOutputLength: chunk.payloadBytes, chunkSize: chunk.payloadBytes })
        : chunk.payload;
    const view = new DataView(ops.buffer, ops.byteOffset, ops.byteLength);
    tally.rows += forEachOp(ops, (_kind, start, end) => {
      hash.update(ops, view, start, end, tally.seed);
      tally.sum.add(hash.lo, hash.hi);
    });
  }

  private compared({ sums }: Extract<ServerMessage, { type: 'checkpoint-end' }>): { rows: number; bytes: number } {
    let rows = 0;
    for (const sum of sums) {
      const tally = this.tallyByNo.get(sum.no);
      if (tally?.rows !== sum.rows || tally.sum.toBigint() !== sum.checksum)
        throw new Error('a bucket does not add up');
      rows += tally.rows;
    }
    return { rows, bytes: this.bytes };
  }
}

function helloOf(token: string): Parameters<typeof encodeClientMessage>[0] {
  const who = { project: PROJECT_REF, token, clientId: 'bench', sdk: 'bench' };
  return { type: 'hello', version: PROTOCOL_VERSION, ...who, resume: undefined };
}

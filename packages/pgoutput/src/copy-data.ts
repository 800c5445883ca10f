import { type Lsn, lsnFromBigint } from '@sluice/domain';
import { pgUsFromUnixMs } from './pg-time.ts';
import { protocolError } from './protocol-error.ts';

/** First bytes of what a walsender puts into CopyData (PostgreSQL manual, "Streaming Replication Protocol"). */
export const FRAME = {
  xlogData: 0x77, // w
  keepalive: 0x6b, // k
} as const;
const STANDBY_STATUS = 0x72; // r

/** One CopyData payload, read in place and reused. LSNs become bigints only when asked for: most are never looked at. */
export class CopyDataFrame {
  /** FRAME.xlogData or FRAME.keepalive; 0 before the first read. */
  kind = 0;
  /** The pgoutput message is `src[messageStart, messageEnd)`; empty in a keepalive. */
  messageStart = 0;
  messageEnd = 0;
  /** A keepalive that wants a standby status now. */
  replyRequested = false;
  startHi = 0;
  startLo = 0;
  endHi = 0;
  endLo = 0;

  /** WAL location of the message; 0 for those that have none, and not unique. Never a position of ours (L1). */
  get walStart(): Lsn {
    return lsnFromBigint((BigInt(this.startHi) << 32n) | BigInt(this.startLo));
  }
  /** The server's WAL end. */
  get walEnd(): Lsn {
    return lsnFromBigint((BigInt(this.endHi) << 32n) | BigInt(this.endLo));
  }
}

const XLOG_DATA_HEADER_BYTES = 1 + 8 + 8 + 8;
const KEEPALIVE_BYTES = 1 + 8 + 8 + 1;

/**
 * Reads the frame in `src[at, end)`. `view` must cover the same bytes as `src`.
 * @throws AppError SOURCE_PROTOCOL for any bytes that are no frame.
 */
export function readCopyData(src: Uint8Array, view: DataView, at: number, end: number, into: CopyDataFrame): void {
  const kind = at < end ? (src[at] as number) : 0;
  if (kind === FRAME.xlogData) readXlogData(view, at, end, into);
  else if (kind === FRAME.keepalive) readKeepalive(src, view, at, end, into);
  else throw protocolError('unknown replication frame', at);
  into.kind = kind;
}

function readXlogData(view: DataView, at: number, end: number, into: CopyDataFrame): void {
  if (end - at < XLOG_DATA_HEADER_BYTES) throw protocolError('WAL frame ends early', at);
  into.startHi = lsnHighHalf(view, at + 1);
  into.startLo = view.getUint32(at + 5);
  into.endHi = lsnHighHalf(view, at + 9);
  into.endLo = view.getUint32(at + 13);
  into.messageStart = at + XLOG_DATA_HEADER_BYTES;
  into.messageEnd = end;
  into.replyRequested = false;
}

function readKeepalive(src: Uint8Array, view: DataView, at: number, end: number, into: CopyDataFrame): void {
  if (end - at !== KEEPALIVE_BYTES) throw protocolError('keepalive of the wrong length', at);
  const reply = src[at + 17] as number;
  if (reply > 1) throw protocolError('flag that is neither 0 nor 1', at + 17);
  into.endHi = lsnHighHalf(view, at + 1);
  into.endLo = view.getUint32(at + 5);
  into.startHi = into.endHi;
  into.startLo = into.endLo;
  into.messageStart = end;
  into.messageEnd = end;
  into.replyRequested = reply === 1;
}

function lsnHighHalf(view: DataView, at: number): number {
  const half = view.getInt32(at);
  if (half < 0) throw protocolError('LSN out of range', at);
  return half;
}

export interface StandbyStatus {
  /** End of what was received. */
  readonly written: Lsn;
  /** End of what is durable; the slot's confirmed LSN becomes this. Exact commit ends only, never one more (L2). */
  readonly flushed: Lsn;
  readonly applied: Lsn;
  /** Our clock, Unix milliseconds. */
  readonly replyNowMs: number;
  /** Asks the server to answer at once. */
  readonly replyRequested: boolean;
}

/** The CopyData payload of a standby status update, 34 bytes. */
export function formatStandbyStatus(status: StandbyStatus): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(34);
  const view = new DataView(bytes.buffer);
  bytes[0] = STANDBY_STATUS;
  view.setBigInt64(1, status.written);
  view.setBigInt64(9, status.flushed);
  view.setBigInt64(17, status.applied);
  view.setBigInt64(25, pgUsFromUnixMs(status.replyNowMs));
  bytes[33] = status.replyRequested ? 1 : 0;
  return bytes;
}

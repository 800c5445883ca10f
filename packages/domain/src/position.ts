import type { Brand } from './ids.ts';

/**
 * A WAL location as Postgres counts it, in bytes. Compared as a bigint, never as text.
 *
 * The LSN in a position is the *commit record's* LSN (`final_lsn` of pgoutput's Begin), which is known when a
 * transaction begins to arrive; ADR 0001 says why it is not the end of that record. Standby status always uses the
 * end LSN, which barriers carry beside their position (L2).
 */
export type Lsn = Brand<bigint, 'Lsn'>;

/** @throws RangeError when the text is not two hexadecimal halves, as in `16/B374D848`. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (!match) throw new RangeError(`not an LSN: ${text.slice(0, 40)}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}
export function lsnFromBigint(value: bigint): Lsn {
  if (value < 0n || value > 0x7fffffffffffffffn) throw new RangeError(`LSN out of range: ${value}`);
  return value as Lsn;
}
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/**
 * A point in a source's history within one epoch (L1): commit LSN, then `seq`.
 *
 * `seq` is `ordinal * 65536 + sub`: the ordinal counts, from 1, the row and TRUNCATE messages of the transaction as the
 * source sent them, before any filter of ours; `sub` counts the ops of one change. 0 is a snapshot row read under the
 * consistent point `lsn`; SEQ_BARRIER is "after everything of this commit" (L4).
 */
export interface Position {
  readonly lsn: Lsn;
  readonly seq: number;
}
export const SEQ_SNAPSHOT = 0;
export const SEQ_BARRIER = 2 ** 48 - 1;
export const SEQ_PER_ORDINAL = 65536;
export const POSITION_ZERO: Position = { lsn: 0n as Lsn, seq: 0 };

export function comparePositions(a: Position, b: Position): number {
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1;
  return a.seq - b.seq;
}
export function barrierAt(lsn: Lsn): Position {
  return { lsn, seq: SEQ_BARRIER };
}
export function isBarrier(position: Position): boolean {
  return position.seq === SEQ_BARRIER;
}
export function formatPosition(position: Position): string {
  const seq = position.seq === SEQ_BARRIER ? 'inf' : String(position.seq);
  return `${formatLsn(position.lsn)}:${seq}`;
}

import { protocolError } from './protocol-error.ts';

/** First bytes of the messages of pgoutput protocol version 1 (PostgreSQL manual, "Logical Replication Message Formats"). */
export const MESSAGE = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  logical: 0x4d, // M
} as const;

export type MessageKind = keyof typeof MESSAGE;

const kindByByte: readonly (MessageKind | undefined)[] = Array.from({ length: 256 }, (_, byte) =>
  (Object.keys(MESSAGE) as MessageKind[]).find((kind) => MESSAGE[kind] === byte),
);

/**
 * Names a message by its first byte.
 *
 * Streamed (S, E, c, A) and two-phase (b, P, K, r, p) messages belong to protocol versions that we do not ask for; in
 * a streamed transaction every message also carries its xid, so reading on would misread rows. They are refused.
 * @throws AppError SOURCE_PROTOCOL
 */
export function messageKind(byte: number): MessageKind {
  const kind = kindByByte[byte];
  if (kind === undefined) throw protocolError(`unknown message kind ${byte}`, 0);
  return kind;
}

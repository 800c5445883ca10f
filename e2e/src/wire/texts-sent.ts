import { ByteReader, readCell } from '@sluice/domain';
import { forEachOp, OP_PUT, type ServerMessage } from '@sluice/protocol';
import { payloadOf } from './wire-tap.ts';

/** Every text that stands in a row that was sent, whatever the client made of it. */
export function textsSent(messages: readonly ServerMessage[]): Set<string> {
  const texts = new Set<string>();
  for (const message of messages) {
    if (message.type !== 'chunk') continue;
    const payload = payloadOf(message);
    forEachOp(payload, (kind, start, end) => {
      if (kind !== OP_PUT) return;
      const row = new ByteReader(payload, start, end);
      while (row.remaining > 0) {
        const cell = readCell(row);
        if (typeof cell === 'string') texts.add(cell);
      }
    });
  }
  return texts;
}

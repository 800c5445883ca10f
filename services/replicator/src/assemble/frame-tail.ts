import type { ByteWriter } from '@sluice/domain';
import { appendRecord, forEachRecord } from '@sluice/op-queue';
import { MESSAGE } from '@sluice/pgoutput';
import type { RelationBook } from './relation-book.ts';

/**
 * Begins a frame with the records of a transaction whose first part was written behind whole transactions in the frame
 * before. The tables that it uses are described again, since that frame may have held their description.
 */
export function beginTail(tail: Uint8Array, relations: RelationBook, frame: number, out: ByteWriter): void {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  forEachRecord(tail, view, (kind, start, end) => {
    if (kind === MESSAGE.insert || kind === MESSAGE.update || kind === MESSAGE.delete) {
      describe(view.getUint32(start + 1));
    } else if (kind === MESSAGE.truncate) {
      for (let at = start + 6; at < end; at += 4) describe(view.getUint32(at));
    } else if (kind === MESSAGE.relation) return;
    appendRecord(out, tail, start, end);
  });

  function describe(oid: number): void {
    const relation = relations.get(oid);
    if (relation) relations.describe(relation, frame, out);
  }
}

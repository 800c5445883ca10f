import { ByteReader, type ByteWriter, MalformedBytesError } from '@sluice/domain';
import { SLOT, type TupleSlots } from '@sluice/pgoutput';
import type { RelationLike, SourceColumn, StreamPlan, TupleSlotsLike } from '@sluice/sync-rules';

/** The columns of a table that a stream reads, by name: what an image of its rows holds, in the order of an image. */
export function imageColumns(plan: StreamPlan, set: number | undefined): readonly string[] {
  const columns = set === undefined ? columnsOfRows(plan) : columnsOfMembers(plan, set);
  return [...new Set(columns.map(({ name }) => name))].sort();
}

function columnsOfRows({ table, buckets }: StreamPlan): readonly SourceColumn[] {
  return [
    ...table.columns.map(({ source }) => source),
    ...buckets.flatMap(({ filters, params }) => [...filters, ...params].map(({ column }) => column)),
  ];
}
function columnsOfMembers({ memberships }: StreamPlan, set: number): readonly SourceColumn[] {
  const { key = [], filters = [], lookup = [], output } = memberships[set] ?? {};
  return [...key, ...[...filters, ...lookup].map(({ column }) => column), ...(output ? [output.column] : [])];
}

/**
 * How the columns that a stream reads stand in the image of a row: per column, in an order that the plan alone decides, a
 * byte of SLOT and, for text, a varint length and the bytes as the source sent them. So an image reads as the row's tuple
 * did, under any relation that the plan can be bound to.
 */
export class ImageLayout {
  /** Place in the relation per column of the image. */
  private readonly places: readonly number[];
  private readonly columnCount: number;

  /** @param columns all of them are in the relation */
  constructor(columns: readonly string[], relation: RelationLike) {
    this.places = columns.map((name) => relation.columns.findIndex((column) => column.name === name));
    this.columnCount = relation.columns.length;
  }

  /** Appends the image of a tuple; gives whether every column of it is known. */
  pack(src: Uint8Array, slots: TupleSlotsLike, out: ByteWriter): boolean {
    let isWhole = true;
    for (const place of this.places) {
      const kind = slots.kind[place] as number;
      if (kind === SLOT.text) appendText(out, src, slots.start[place] as number, slots.end[place] as number);
      else out.u8(kind);
      isWhole &&= kind !== SLOT.unchanged;
    }
    return isWhole;
  }

  /** As pack, taking from `old`, another image of the row, what the tuple leaves unchanged. */
  packOver(src: Uint8Array, slots: TupleSlotsLike, old: Uint8Array, out: ByteWriter): boolean {
    let isWhole = true;
    const reader = new ByteReader(old);
    for (const place of this.places) {
      const before = reader.at;
      const oldKind = skipColumn(reader);
      const kind = slots.kind[place] as number;
      if (kind === SLOT.unchanged) {
        out.raw(old, before, reader.at);
        isWhole &&= oldKind !== SLOT.unchanged;
      } else if (kind === SLOT.text) {
        appendText(out, src, slots.start[place] as number, slots.end[place] as number);
      } else out.u8(kind);
    }
    reader.finish();
    return isWhole;
  }

  /**
   * Points `slots` at the columns within the image, which then stands for the message's bytes; columns that the stream does
   * not read are NULL. @throws MalformedBytesError
   */
  unpack(image: Uint8Array, slots: TupleSlots): void {
    slots.reserve(this.columnCount);
    slots.kind.fill(SLOT.null, 0, this.columnCount);
    slots.count = this.columnCount;
    slots.unchangedCount = 0;
    let at = 0;
    for (const place of this.places) {
      const kind = image[at++] as number;
      slots.kind[place] = kind;
      if (kind === SLOT.unchanged) slots.unchangedCount++;
      if (kind !== SLOT.text) continue;
      let length = image[at++] as number;
      if (length >= 0x80) {
        const reader = new ByteReader(image, at - 1);
        length = reader.varint();
        ({ at } = reader);
      }
      slots.start[place] = at;
      at += length;
      slots.end[place] = at;
    }
    if (at !== image.length) throw new MalformedBytesError('an image of another layout');
  }
}

function appendText(out: ByteWriter, src: Uint8Array, start: number, end: number): void {
  out.u8(SLOT.text);
  out.varint(end - start);
  out.raw(src, start, end);
}

function skipColumn(reader: ByteReader): number {
  const kind = reader.u8();
  if (kind === SLOT.text) reader.raw(reader.varint());
  else if (kind !== SLOT.null && kind !== SLOT.unchanged) throw new MalformedBytesError('unknown column in an image');
  return kind;
}

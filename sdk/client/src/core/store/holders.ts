import { ByteReader, ByteWriter, MalformedBytesError } from '@sluice/domain';

/**
 * Which buckets hold a row, as local bucket numbers. Nearly every row has one holder, so one is stored as an INTEGER and
 * only several as a BLOB: their numbers in ascending order, each as a varint.
 */
export type Holders = readonly number[];

const writer = new ByteWriter(64);

export function holdersWith(holders: Holders, bucket: number): Holders {
  return holders.includes(bucket) ? holders : [...holders, bucket].sort((a, b) => a - b);
}
export function holdersWithout(holders: Holders, bucket: number): Holders {
  return holders.filter((held) => held !== bucket);
}

/** @param holders at least one */
export function formatHolders(holders: Holders): number | Uint8Array {
  if (holders.length === 1) return holders[0] as number;
  writer.reset();
  for (const bucket of holders) writer.varint(bucket);
  return writer.take();
}
/** @throws MalformedBytesError */
export function parseHolders(bytes: Uint8Array): Holders {
  const reader = new ByteReader(bytes);
  const holders: number[] = [];
  while (reader.remaining > 0) {
    const bucket = reader.varint();
    if (bucket <= (holders.at(-1) ?? 0)) throw new MalformedBytesError('holders out of order');
    holders.push(bucket);
  }
  if (holders.length < 2) throw new MalformedBytesError('a list of holders has at least two');
  return holders;
}

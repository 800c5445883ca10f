import { ByteWriter, type Lsn } from '@sluice/domain';
import { writeDirectoryHead } from '@sluice/protocol';

/** The directory of a chunk without ops. */
export function emptyDirectory(): Uint8Array {
  const out = new ByteWriter(16);
  writeDirectoryHead(out, 0, 0n as Lsn);
  return out.take();
}

import { ByteWriter } from '@sluice/domain';

/**
 * The bytes of one frame's ops while it is evaluated: each distinct row or key once, however many buckets hold it. Reused
 * from frame to frame, so that evaluating allocates nothing per row.
 */
export class FrameWriter {
  /** Bodies of ops: encoded rows and keys. */
  readonly bodies = new ByteWriter(1 << 20);
  /** Payloads and directories of the finished chunks. */
  readonly chunks = new ByteWriter(1 << 20);

  reset(): void {
    this.bodies.reset();
    this.chunks.reset();
  }
}

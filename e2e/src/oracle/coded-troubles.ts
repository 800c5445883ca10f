import type { SyncClient } from '../stack/sync-client.ts';
import { Finding } from './finding.ts';

/** What no cut link, restart or killed session explains: some part says that what it was given is wrong (L9, L17). */
const INVARIANTS = new Set([
  'BUCKET_INCONSISTENT',
  'CHECKSUM_MISMATCH',
  'CLIENT_AHEAD',
  'CLIENT_CHUNK_INVALID',
  'CLIENT_FRAME_MALFORMED',
  'CLIENT_FRAME_OUT_OF_ORDER',
  'CLIENT_SCHEMA_INVALID',
  'GATEWAY_FAILED',
  'PROTOCOL_APPLIED_UNSENT',
]);

/** Listens for what clients are told that may never be, also where it heals by itself afterwards. */
export class CodedTroubles {
  readonly #found: Finding[] = [];
  #tell: (finding: Finding) => void = () => {};

  watch({ claims, sdk }: SyncClient): void {
    sdk.onStatus(({ lastError, source }) => {
      if (lastError && INVARIANTS.has(lastError.code))
        this.#add(`${claims.sub} was told ${lastError.code}: ${lastError.message}`);
      if (source?.state === 'stopped') this.#add(`${claims.sub} was told that the project stopped: ${source.code}`);
    });
  }

  /** @throws Finding the first one, if there is any */
  check(): void {
    const [first] = this.#found;
    if (first) throw first;
  }

  /** Does the work, or ends waiting for it at the first finding. @throws Finding, and what the work throws */
  during<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    return new Promise((resolve, reject) => {
      this.#tell = reject;
      work().then(resolve, reject);
    });
  }

  #add(text: string): void {
    const finding = new Finding(text);
    this.#found.push(finding);
    this.#tell(finding);
  }
}

/**
 * The key-management port: it holds the key-encryption keys and never shows them. `context` is authenticated with the
 * wrapped key, so a key wrapped for one place cannot be unwrapped for another.
 */
export interface KeyEncryption {
  /** Wraps a data key under the newest key-encryption key. */
  wrap(dataKey: Uint8Array, context: Uint8Array): Promise<{ readonly keyId: string; readonly wrapped: Uint8Array }>;
  /** @throws any error when the key is unknown or anything was altered; the caller turns it into SECRET_UNREADABLE. */
  unwrap(keyId: string, wrapped: Uint8Array, context: Uint8Array): Promise<Uint8Array>;
}

import { X509Certificate } from 'node:crypto';
import { AppError } from '@sluice/errors';

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const CERTIFICATES_MAX = 20;

/**
 * PEM text of one or more certificates, and nothing else beside them: a private key pasted along must not be stored.
 * @throws AppError CONN_CA_INVALID
 */
export function parseCa(text: string): string {
  const blocks = text.match(PEM_BLOCK) ?? [];
  const hasOnlyBlocks = text.replace(PEM_BLOCK, '').trim() === '';
  if (!hasOnlyBlocks || blocks.length === 0 || blocks.length > CERTIFICATES_MAX) throw new AppError('CONN_CA_INVALID');
  try {
    for (const block of blocks) new X509Certificate(block);
  } catch (cause) {
    throw new AppError('CONN_CA_INVALID', { cause });
  }
  return blocks.join('\n');
}

import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Made at the first start, kept in a file that only its owner may read. Printed only where a person needs one to log in. */
export interface LocalSecrets {
  readonly platformPassword: string;
  readonly tenantPassword: string;
  readonly replicationPassword: string;
  /** Signs the demo users' tokens (HS256); its UTF-8 bytes are the key. */
  readonly demoTokenSecret: string;
  readonly controlPlaneToken: string;
}

/** Reads the secrets of `home`, making them first when there are none; a torn write leaves none. */
export async function readOrMakeSecrets(home: string): Promise<LocalSecrets> {
  const file = path.join(home, 'secrets.json');
  await mkdir(home, { recursive: true });
  try {
    return JSON.parse(await readFile(file, 'utf8')) as LocalSecrets; // Written below and by nobody else.
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const make = (): string => randomBytes(32).toString('base64url');
  const secrets: LocalSecrets = {
    platformPassword: make(),
    tenantPassword: make(),
    replicationPassword: make(),
    demoTokenSecret: make(),
    controlPlaneToken: make(),
  };
  const draft = `${file}.draft`;
  await writeFile(draft, JSON.stringify(secrets, null, 2), { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, file);
  return secrets;
}

import { SignJWT } from 'jose';
import { AUDIENCE, ISSUER } from '../stack.ts';

/** @param secret base64 */
export function tokenFor(secret: string, user: string): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime('2h')
    .sign(Buffer.from(secret, 'base64'));
}

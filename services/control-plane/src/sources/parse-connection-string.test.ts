import { isAppError } from '@sluice/errors';
import { describe, expect, test } from 'vitest';
import { parseConnectionString } from './parse-connection-string.ts';
import type { HostPolicy } from './parse-host.ts';

function codeOf(text: string, policy: HostPolicy): string {
  try {
    parseConnectionString(text, policy);
    return 'accepted';
  } catch (error) {
    if (!isAppError(error)) throw error;
    expect(JSON.stringify(error.toPublic())).not.toContain('canary');
    expect(error.message).not.toContain('canary');
    return error.code;
  }
}

describe('a connection string', () => {
  test('gives its parts, decoded', () => {
    expect(parseConnectionString('postgres://al%40ice:p%3Aw%2F%C3%BC@Db.Example.com:5433/my%20app', 'hosted')).toEqual({
      address: { host: 'db.example.com', port: 5433, database: 'my app', user: 'al@ice', tlsMode: 'verify-full' },
      password: 'p:w/ü',
    });
    expect(
      parseConnectionString('postgresql://a:b@[2606:4700::1]/d?sslmode=verify-ca', 'hosted').address,
    ).toMatchObject({
      host: '2606:4700::1',
      port: 5432,
      tlsMode: 'verify-ca',
    });
    expect(parseConnectionString('postgres://a:b@127.0.0.1:5432/d?sslmode=disable', 'local').address.host).toBe(
      '127.0.0.1',
    );
  });

  test.each([
    ['empty', ''],
    ['another scheme', 'http://u:canary@db.example.com/d'],
    ['a socket', 'socket:/var/run?canary'],
    ['a bare path', '/var/run/postgresql canary'],
    ['key=value form', 'host=db.example.com password=canary'],
    ['no credentials', 'postgres://db.example.com/d'],
    ['no password', 'postgres://u@db.example.com/d'],
    ['an empty password', 'postgres://u:@db.example.com/d'],
    ['no database', 'postgres://u:canary@db.example.com'],
    ['a path beyond the database', 'postgres://u:canary@db.example.com/d/e'],
    ['two @', 'postgres://u:canary@evil@db.example.com/d'],
    ['a fragment before the host', 'postgres://u:canary#@db.example.com/d'],
    ['a fragment at the end', 'postgres://u:canary@db.example.com/d#x'],
    ['NUL in the password', 'postgres://u:canary%00x@db.example.com/d'],
    ['a line break in the user', 'postgres://u%0a:canary@db.example.com/d'],
    ['broken percent-encoding', 'postgres://u:canary%zz@db.example.com/d'],
    ['percent-encoded bytes that are not UTF-8', 'postgres://u:canary%ff@db.example.com/d'],
    ['a space', 'postgres://u:canary@db.example.com/d '],
    ['full-width digits', 'postgres://u:canary@１２７.0.0.1/d'],
    ['an ideographic full stop', 'postgres://u:canary@127。0。0。1/d'],
    ['a name longer than 63 bytes', `postgres://u:canary@db.example.com/${'d'.repeat(64)}`],
    ['an unknown sslmode', 'postgres://u:canary@db.example.com/d?sslmode=no-verify'],
    ['prefer, which falls back to plain text', 'postgres://u:canary@db.example.com/d?sslmode=prefer'],
    ['3,000 characters', `postgres://u:canary@db.example.com/${'d'.repeat(3000)}`],
  ])('that is not one is refused: %s', (_what, text) => {
    expect(codeOf(text, 'local')).toBe('CONN_STRING_INVALID');
    expect(codeOf(text, 'hosted')).toBe('CONN_STRING_INVALID');
  });

  test.each([
    'host=127.0.0.1', 'hostaddr=127.0.0.1', 'port=22', 'user=postgres', 'password=x', 'dbname=x', 'service=x', 'passfile=/etc/passwd',
    'sslcert=/etc/passwd', 'sslkey=/etc/passwd', 'sslrootcert=/etc/passwd', 'sslcrl=/etc/passwd', 'options=-c%20x', 'replication=true',
    'target_session_attrs=any', 'application_name=x', 'ssl=true', 'sslmode=require&host=127.0.0.1', 'sslmode=require&sslmode=disable',
    'SSLMODE=disable', '%68ost=127.0.0.1', '&', 'x',
  ])('may not carry the parameter %s', (query) => {
    expect(codeOf(`postgres://u:canary@db.example.com/d?${query}`, 'local')).toBe('CONN_FIELD_REFUSED');
  }); // biome-ignore format: a list of words reads best in lines.

  test.each([
    '', 'a,b', 'db.example.com,127.0.0.1', '2130706433', '0x7f.1', '0x7f000001', '017700000001', '127.1', '127.0.0.1.', 'localhost.', '-db.example.com', 'db_1.example.com',
    '%31%32%37.0.0.1', '[fe80::1%25eth0]', '[127.0.0.1]', '[::1', '::1', '%2Fvar%2Frun', 'db..example.com', `${'a'.repeat(64)}.com`,
    'db.example.com:0', 'db.example.com:99999', 'db.example.com:', 'db.example.com:5432:5432', 'db.example.com:0x10', 'db.example.com:+5432',
  ])('may not name the host %s, whoever asks', (host) => {
    expect(codeOf(`postgres://u:canary@${host}/d`, 'local')).toBe('CONN_HOST_FORBIDDEN');
  }); // biome-ignore format: a list of words reads best in lines.

  test.each([
    'localhost', 'db', 'db.internal', 'db.local', 'postgres.default.svc', '127.0.0.1', '0.0.0.0', '10.1.2.3', '100.64.0.1', '169.254.169.254', '172.31.0.1', '192.168.1.1',
    '198.18.0.1', '224.0.0.1', '255.255.255.255', '[::]', '[::1]', '[::ffff:7f00:1]', '[::ffff:127.0.0.1]', '[64:ff9b::7f00:1]', '[fc00::1]', '[fe80::1]', '[ff02::1]',
    '[2001:db8::1]', '[2002:7f00:1::]', 'db.example.com:22', 'db.example.com:80', 'db.example.com:6379',
  ])('may not name %s on a hosted platform', (host) => {
    expect(codeOf(`postgres://u:canary@${host}/d`, 'hosted')).toBe('CONN_HOST_FORBIDDEN');
  }); // biome-ignore format: a list of words reads best in lines.

  test.each(['disable', 'require'])('may not ask for sslmode=%s on a hosted platform', (mode) => {
    expect(codeOf(`postgres://u:canary@db.example.com/d?sslmode=${mode}`, 'hosted')).toBe('CONN_TLS_REQUIRED');
    expect(codeOf(`postgres://u:canary@db.example.com/d?sslmode=${mode}`, 'local')).toBe('accepted');
  });
});

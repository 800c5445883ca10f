import { MalformedBytesError, SEQ_BARRIER } from '@sluice/domain';
import { expect, test } from 'vitest';
import { formatChunkCursor, parseChunkCursor } from './chunk-cursor.ts';
import { bucketId, lsn } from './testing/store-driver.ts';

test('a cursor is read as it was written, and anything else is refused', () => {
  const cursor = { stream: 7 as never, bucket: bucketId(255), lsn: lsn(2 ** 52), seq: SEQ_BARRIER, part: 2 ** 40 };
  const { lsn: at, seq } = cursor;
  const text = formatChunkCursor({ ...cursor, position: { lsn: at, seq } } as never);
  expect(parseChunkCursor(text)).toEqual(cursor);
  for (const bad of [
    '',
    'x',
    text.slice(1),
    `${text}.1`,
    text.replaceAll('.', ' '),
    `${text}\n`,
    `-${text}`,
    `${text}x`,
  ])
    expect(() => parseChunkCursor(bad)).toThrow(MalformedBytesError);
});

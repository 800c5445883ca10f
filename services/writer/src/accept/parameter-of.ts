import { ByteReader, type CellValue, readCell } from '@sluice/domain';
import { PG_TYPE } from '@sluice/pg-values';
import type { Parameter } from '../model.ts';

/** One encoded cell as its value. @throws MalformedBytesError */
export function cellValueOf(cell: Uint8Array): CellValue {
  return readCell(new ByteReader(cell));
}

/**
 * What Postgres reads as the value that docs/types.md shows as this cell; undefined when no value of the type is shown so.
 * `typeOid` is the base type of a domain. Postgres checks the rest: ranges, lengths, the forms of texts.
 */
export function parameterOf(value: CellValue, typeOid: number): Parameter | undefined {
  if (value === null) return null;
  const isBytes = typeOid === PG_TYPE.bytea;
  if (value instanceof Uint8Array) return isBytes ? `\\x${Buffer.from(value).toString('hex')}` : undefined;
  // As bytea a text would be read in one of two forms, by what it happens to begin with.
  if (isBytes) return undefined;
  if (Object.is(value, -0)) return '-0';
  return String(value);
}

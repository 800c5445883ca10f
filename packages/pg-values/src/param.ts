import type { ByteWriter } from '@sluice/domain';
import { PG_TYPE } from './type-oids.ts';

/** Types whose equality is byte equality of their printed text, so that token claims can be compared with them. */
export type ParamType = 'text' | 'int' | 'uuid' | 'bool';

export interface ParamColumn {
  /** Set when the column's collation makes different texts equal. */
  readonly nondeterministicCollation: boolean;
  /** pg_type.typtype of the base type; 'e' is an enum. */
  readonly typeKind: string;
}

/**
 * How a column may serve as a bucket parameter or be compared with a constant; undefined when equal values may print
 * differently (numeric 1.0 and 1.00, float -0 and 0, char(n) and citext, json, times) or different ones alike.
 */
export function paramTypeOf(baseTypeOid: number, column: ParamColumn): ParamType | undefined {
  switch (baseTypeOid) {
    case PG_TYPE.text:
    case PG_TYPE.varchar:
    case PG_TYPE.name:
      return column.nondeterministicCollation ? undefined : 'text';
    case PG_TYPE.int2:
    case PG_TYPE.int4:
    case PG_TYPE.int8:
    case PG_TYPE.oid:
      return 'int';
    case PG_TYPE.uuid:
      return 'uuid';
    case PG_TYPE.bool:
      return 'bool';
    default:
      return column.typeKind === 'e' ? 'text' : undefined;
  }
}

const INTEGER = /^(?:0|-?[1-9][0-9]{0,18})$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Text that Postgres cannot hold or that UTF-8 would fold together: NUL and lone surrogates. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

/**
 * The text that Postgres prints for a column value equal to this JSON claim; undefined when no value can be equal.
 * Kinds never mix: the number 1 is not the text "1" nor true, null equals nothing.
 */
export function pgTextFromClaim(type: ParamType, claim: unknown): string | undefined {
  switch (type) {
    case 'text':
      return typeof claim === 'string' && !UNSTORABLE.test(claim) ? claim : undefined;
    case 'int':
      // A larger number was rounded when its JSON was parsed, so it may stand for several integers.
      if (typeof claim === 'number') return Number.isSafeInteger(claim) ? String(claim) : undefined;
      return typeof claim === 'string' && INTEGER.test(claim) ? claim : undefined;
    case 'uuid':
      return typeof claim === 'string' && UUID.test(claim) ? claim.toLowerCase() : undefined;
    case 'bool':
      return claim === true ? 't' : claim === false ? 'f' : undefined;
  }
}

const PARAM_TAG = { text: 1, int: 2, uuid: 3, bool: 4 } as const satisfies Record<ParamType, number>;

/**
 * Appends one parameter of a tuple: a tag, the length as varint, the text `src[start, end)`. Self-delimiting, so tuples
 * of different values never have equal bytes (L13: a collision would be a leak).
 */
export function appendParam(out: ByteWriter, type: ParamType, src: Uint8Array, start = 0, end = src.length): void {
  out.u8(PARAM_TAG[type]);
  out.varint(end - start);
  out.raw(src, start, end);
}

const utf8 = new TextEncoder();

/** As appendParam, from the text that pgTextFromClaim gives. */
export function appendParamText(out: ByteWriter, type: ParamType, text: string): void {
  appendParam(out, type, utf8.encode(text));
}

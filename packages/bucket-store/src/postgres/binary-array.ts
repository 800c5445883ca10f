/** OIDs of the element types (pg_type.dat). */
const INT4_OID = 23;
const INT8_OID = 20;
const HEADER_BYTES = 20;

/**
 * Arrays in Postgres's binary format (array_send in arrayfuncs.c): dimensions, flags, element OID, length, lower bound,
 * then per element its byte length and value, all big endian. Text would cost a number's formatting and parsing per element.
 */
export function int4Array(count: number, at: (index: number) => number): Buffer {
  const out = header(count, INT4_OID, 8);
  for (let i = 0, offset = HEADER_BYTES; i < count; i++, offset += 8) {
    out.writeInt32BE(4, offset);
    out.writeInt32BE(at(i), offset + 4);
  }
  return out;
}
/** As int4Array, for unsigned or signed 64-bit integers; unsigned ones keep their bits. */
export function int8Array(count: number, at: (index: number) => bigint): Buffer {
  const out = header(count, INT8_OID, 12);
  for (let i = 0, offset = HEADER_BYTES; i < count; i++, offset += 12) {
    out.writeInt32BE(8, offset);
    out.writeBigInt64BE(BigInt.asIntN(64, at(i)), offset + 4);
  }
  return out;
}
/** As int8Array, for safe integers that are not negative: without a bigint each. */
export function int8ArrayOfNumbers(count: number, at: (index: number) => number): Buffer {
  const out = header(count, INT8_OID, 12);
  for (let i = 0, offset = HEADER_BYTES; i < count; i++, offset += 12) {
    const value = at(i);
    out.writeInt32BE(8, offset);
    out.writeUInt32BE(Math.floor(value / 2 ** 32), offset + 4);
    out.writeUInt32BE(value % 2 ** 32, offset + 8);
  }
  return out;
}

const EMPTY_BYTES = 12;
function header(count: number, elementOid: number, elementBytes: number): Buffer {
  const out = Buffer.allocUnsafe(count === 0 ? EMPTY_BYTES : HEADER_BYTES + count * elementBytes);
  out.writeInt32BE(count === 0 ? 0 : 1, 0);
  out.writeInt32BE(0, 4);
  out.writeInt32BE(elementOid, 8);
  if (count > 0) {
    out.writeInt32BE(count, 12);
    out.writeInt32BE(1, 16);
  }
  return out;
}

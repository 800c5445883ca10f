import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  ByteWriter,
  CELL_ENCODING_VERSION,
  hexFromBytes,
  type Lsn,
  parseHex,
  rowHash,
  tableSeed,
  writeCell,
} from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { appendDirectoryEntry, CHUNK_VERSION, writeDirectoryHead } from './chunk.ts';
import { decodeClientMessage, decodeServerMessage, encodeClientMessage, encodeServerMessage } from './codec.ts';
import { jsonFromServerMessage } from './json.ts';
import {
  type ClientMessage,
  LIMITS,
  PROTOCOL_VERSION,
  type ServerMessage,
  SUBPROTOCOL_BINARY,
  SUBPROTOCOL_JSON,
} from './messages.ts';
import { clientSamples, samplePayload, serverSamples } from './samples.fixture.ts';

/** Fingerprints by version. A change of the bytes needs a new version and a new line; a line is never edited. */
const wireByVersion: Readonly<Record<number, string>> = {
  1: '3e02b0c174c9eac2418a53cd07616fa1',
  2: '1bedb34d776e2f9eec0a54474b54fadb',
};
const chunkByVersion: Readonly<Record<number, string>> = {
  1: 'f6b92ee48e4bb398fefbc33913121615',
};

function fingerprint(parts: readonly (Uint8Array | string)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex').slice(0, 32);
}

describe('the formats that others rely on', () => {
  it('the wire format changes only with PROTOCOL_VERSION', () => {
    const wire = fingerprint([
      SUBPROTOCOL_BINARY,
      SUBPROTOCOL_JSON,
      JSON.stringify(LIMITS),
      ...clientSamples.map(encodeClientMessage),
      ...serverSamples.map(encodeServerMessage),
      ...serverSamples.map(jsonFromServerMessage),
    ]);
    expect(wire).toBe(wireByVersion[PROTOCOL_VERSION]);
  });

  it('the chunk format changes only with CHUNK_VERSION, the cells in it only with CELL_ENCODING_VERSION', () => {
    const directory = new ByteWriter(64);
    writeDirectoryHead(directory, 1, 1000n as Lsn);
    appendDirectoryEntry(directory, { hashLo: 1, hashHi: 2, lsnDelta: 300, seq: 65_536, keyBytes: 3 });
    expect(CELL_ENCODING_VERSION).toBe(1);
    expect(fingerprint([samplePayload(), directory.take()])).toBe(chunkByVersion[CHUNK_VERSION]);
  });

  // docs/protocol.md gives these as test vectors for whoever writes another client.
  it('L9: row hashes are those of the documentation', () => {
    const rowOf = (values: readonly (null | number | string)[]): Uint8Array => {
      const out = new ByteWriter(64);
      for (const value of values) writeCell(out, value);
      return out.take();
    };
    const vectors = [
      { table: 'docs', row: rowOf([1, 'hello']) },
      { table: 'docs', row: rowOf([2, null]) },
      { table: 'notes', row: rowOf([1, 'hello']) },
      { table: 'docs', row: rowOf([-129, 'x'.repeat(100)]) },
    ];
    const hashes = vectors.map(({ table, row }) => ({
      table,
      seed: tableSeed(table).toString(16).padStart(8, '0'),
      row: row.length > 40 ? `${hexFromBytes(row.subarray(0, 6))}… (${row.length} bytes)` : hexFromBytes(row),
      hash: rowHash(tableSeed(table), row).toString(16).padStart(16, '0'),
    }));
    expect(hashes).toMatchInlineSnapshot(`
      [
        {
          "hash": "71d825d4e4e7c5cf",
          "row": "098568656c6c6f",
          "seed": "f201f80a",
          "table": "docs",
        },
        {
          "hash": "113deadae292b7db",
          "row": "010200",
          "seed": "f201f80a",
          "table": "docs",
        },
        {
          "hash": "80f8a452006a24d8",
          "row": "098568656c6c6f",
          "seed": "fd31c7cc",
          "table": "notes",
        },
        {
          "hash": "b1f6245b673dd8b3",
          "row": "027fff066478… (105 bytes)",
          "seed": "f201f80a",
          "table": "docs",
        },
      ]
    `);
    const sum = vectors.slice(0, 2).reduce((total, { table, row }) => total + rowHash(tableSeed(table), row), 0n);
    expect(BigInt.asUintN(64, sum).toString(16).padStart(16, '0')).toMatchInlineSnapshot(`"831610afc77a7daa"`);
  });

  it('the session that docs/protocol.md shows in bytes is the one that the codec makes', () => {
    const page = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
    const lines = page.split('\n').flatMap((line) => /^([<>]) ([a-z-]+) +([0-9a-f ]+)$/.exec(line) ?? []);
    const shown: { from: string; type: string; hex: string }[] = [];
    for (let i = 0; i < lines.length; i += 4)
      shown.push({ from: lines[i + 1] ?? '', type: lines[i + 2] ?? '', hex: (lines[i + 3] ?? '').replaceAll(' ', '') });
    expect(shown).toHaveLength(8);
    for (const { from, type, hex } of shown) {
      const bytes = parseHex(hex);
      const message = from === '>' ? decodeClientMessage(bytes) : decodeServerMessage(bytes);
      const again =
        from === '>' ? encodeClientMessage(message as ClientMessage) : encodeServerMessage(message as ServerMessage);
      expect([message.type, hexFromBytes(again)]).toEqual([type, hex]);
    }
    for (const vector of [
      '71d825d4e4e7c5cf',
      '113deadae292b7db',
      '80f8a452006a24d8',
      'b1f6245b673dd8b3',
      '831610afc77a7daa',
    ])
      expect(page).toContain(vector);
  });
});

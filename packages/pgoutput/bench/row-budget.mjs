// Measures what the hottest path may cost: splitting a 10-column row of about 200 bytes and encoding its cells.
// The budget is 2 microseconds a row. Needs a build; prints one JSON line.
import { ByteWriter, writeNullCell } from '@sluice/domain';
import { cellEncoderFor, PG_TYPE } from '@sluice/pg-values';
import { appendInsertMessage, insertFromCopyLine, RowMessage, readRowMessage, SLOT } from '../dist/index.js';

const ROWS = 200_000;
const ROUNDS = 5;
const utf8 = new TextEncoder();

const types = ['int8', 'text', 'int4', 'timestamptz', 'bool', 'uuid', 'numeric', 'float8', 'varchar', 'text'];
const encoders = types.map((name) => cellEncoderFor(PG_TYPE[name] ?? 0));

function rowValues(i) {
  return [
    String(7_000_000_000 + i * 7919),
    `remark ${(i * 2654435761) % 4294967296} about flight ${i}`,
    String(i),
    `2024-03-0${1 + (i % 9)} 12:34:56.${String(i % 1_000_000).padStart(6, '0')}+00`,
    i % 2 ? 't' : 'f',
    `${(i * 2654435761).toString(16).padStart(12, '0').slice(-8)}-89ab-4cde-8f01-23456789abcd`,
    `${i}.${i % 100}`,
    String(i / 8),
    i % 7 ? `gate ${i % 97}` : null,
    `pad ${i} ${'x'.repeat(40)}`,
  ].map((value) => (value === null ? null : utf8.encode(value)));
}

const wire = new ByteWriter(1 << 20);
const ends = [];
for (let i = 0; i < 2000; i++) {
  appendInsertMessage(wire, 16400, rowValues(i));
  ends.push(wire.length);
}
const bytes = wire.take();
const view = new DataView(bytes.buffer);
const row = new RowMessage();
const out = new ByteWriter(1 << 16);

function encodeRow() {
  const slots = row.new;
  for (let i = 0; i < slots.count; i++) {
    if (slots.kind[i] === SLOT.null) writeNullCell(out);
    else encoders[i](bytes, slots.start[i], slots.end[i], out);
  }
}

function round(work) {
  const began = performance.now();
  for (let done = 0; done < ROWS; ) {
    let at = 0;
    for (let i = 0; i < ends.length; i++, done++) {
      readRowMessage(bytes, view, at, ends[i], row);
      at = ends[i];
      if (work) {
        out.reset();
        encodeRow();
      }
    }
  }
  return ((performance.now() - began) * 1000) / ROWS;
}

// The same rows as COPY would print them; none of these values needs an escape.
const lines = [];
for (let i = 0; i < 2000; i++) {
  const fields = rowValues(i).map((value) => (value === null ? '\\N' : new TextDecoder().decode(value)));
  lines.push(utf8.encode(fields.join('\t')));
}
function copyRound() {
  const began = performance.now();
  for (let done = 0; done < ROWS; done += lines.length) {
    out.reset();
    for (const line of lines) insertFromCopyLine(line, 0, line.length, 10, 16400, out);
  }
  return ((performance.now() - began) * 1000) / ROWS;
}

const median = (measure) => {
  const times = Array.from({ length: ROUNDS }, measure).sort((a, b) => a - b);
  return Number(times[ROUNDS >> 1].toFixed(3));
};
const figures = {
  splitUsPerRow: median(() => round(false)),
  splitAndEncodeUsPerRow: median(() => round(true)),
  copyLineUsPerRow: median(copyRound),
};
const wireBytesPerRow = Math.round(bytes.length / ends.length);
process.stdout.write(`${JSON.stringify({ bench: 'row-budget', figures, wireBytesPerRow, node: process.version })}\n`);

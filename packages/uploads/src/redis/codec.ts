import { type ByteReader, ByteWriter, MalformedBytesError, type ProjectId, parseProjectId } from '@sluice/domain';
import { type Code, isCode } from '@sluice/errors';
import type { Upload, UploadAnswer, WritesState } from '../port.ts';

/** What a gateway asks a writer. */
export type Question =
  | { readonly kind: 'write'; readonly upload: Upload }
  | { readonly kind: 'state'; readonly project: ProjectId };
/** A question on its way: `from` names the gateway, `id` the question among its own. */
export interface Request {
  readonly from: string;
  readonly id: number;
  readonly question: Question;
}

export type Answer =
  | ({ readonly kind: 'write' } & UploadAnswer)
  | ({ readonly kind: 'state' } & WritesState)
  /** What the writer threw. */
  | { readonly kind: 'error'; readonly code: Code };
export interface Response {
  readonly id: number;
  readonly answer: Answer;
}

/** Another version is not understood: nobody answers, and the client sends its upload again. */
const VERSION = 1;
const questionKinds = ['write', 'state'] as const;
const answerKinds = ['write', 'state', 'error'] as const;
const results = ['recorded', 'retry', 'gap'] as const;
const states = ['enabled', 'read-only', 'unavailable'] as const;

/** u8 version, u8 kind, then texts and blobs behind their lengths, and varints. Claims are JSON. */
export function encodeRequest({ from, id, question }: Request): Uint8Array {
  const out = new ByteWriter(1024);
  out.u8(VERSION);
  out.u8(questionKinds.indexOf(question.kind));
  out.text(from);
  out.varint(id);
  if (question.kind === 'state') {
    out.varint(question.project);
    return out.take();
  }
  const { upload } = question;
  out.varint(upload.project);
  out.text(upload.ref);
  out.text(upload.subject);
  out.text(JSON.stringify(upload.claims));
  out.text(upload.clientId);
  out.varint(upload.seq);
  out.varint(upload.refusalsKept);
  out.varint(upload.transactions.length);
  for (const transaction of upload.transactions) out.blob(transaction);
  return out.take();
}

/** Reads what encodeRequest wrote, to the end. @throws MalformedBytesError */
export function decodeRequest(reader: ByteReader): Request {
  const kind = kindOf(reader, questionKinds);
  const [from, id] = [reader.text(), reader.varint()];
  const project = projectFrom(reader.varint());
  if (kind === 'state') return finished(reader, { from, id, question: { kind, project } });
  const upload: Upload = {
    project,
    ref: reader.text(),
    subject: reader.text(),
    claims: claimsFrom(reader.text()),
    clientId: reader.text(),
    seq: reader.varint(),
    refusalsKept: reader.varint(),
    transactions: transactionsFrom(reader),
  };
  return finished(reader, { from, id, question: { kind, upload } });
}

/** u8 version, u8 kind, varint id, text code, then what the kind has. */
export function encodeResponse({ id, answer }: Response): Uint8Array {
  const out = new ByteWriter(64);
  out.u8(VERSION);
  out.u8(answerKinds.indexOf(answer.kind));
  out.varint(id);
  out.text(answer.code);
  if (answer.kind === 'state') out.u8(states.indexOf(answer.state));
  if (answer.kind === 'write') {
    out.u8(results.indexOf(answer.result));
    out.varint(answer.expected);
  }
  return out.take();
}

/** Reads what encodeResponse wrote, to the end. @throws MalformedBytesError */
export function decodeResponse(reader: ByteReader): Response {
  const kind = kindOf(reader, answerKinds);
  const id = reader.varint();
  const code = codeFrom(reader.text());
  if (kind === 'state') return finished(reader, { id, answer: { kind, code, state: oneOf(reader, states) } });
  if (kind === 'write') {
    const [result, expected] = [oneOf(reader, results), reader.varint()];
    return finished(reader, { id, answer: { kind, code, result, expected } });
  }
  if (code === '') throw new MalformedBytesError('an error without a code');
  return finished(reader, { id, answer: { kind, code } });
}

function kindOf<K>(reader: ByteReader, kinds: readonly K[]): K {
  if (reader.u8() !== VERSION) throw new MalformedBytesError('unknown version');
  return oneOf(reader, kinds);
}
function oneOf<K>(reader: ByteReader, values: readonly K[]): K {
  const value = values[reader.u8()];
  if (value === undefined) throw new MalformedBytesError('unknown kind');
  return value;
}
function finished<T>(reader: ByteReader, value: T): T {
  reader.finish();
  return value;
}

function transactionsFrom(reader: ByteReader): Uint8Array[] {
  const count = reader.varint();
  if (count === 0 || count > reader.remaining) throw new MalformedBytesError('impossible count of transactions');
  return Array.from({ length: count }, () => reader.blob());
}
function projectFrom(value: number): ProjectId {
  try {
    return parseProjectId(value);
  } catch (error) {
    if (error instanceof RangeError) throw new MalformedBytesError('project out of range');
    throw error;
  }
}
function claimsFrom(text: string): Upload['claims'] {
  try {
    return JSON.parse(text) as Upload['claims']; // A gateway wrote them, from a token that was verified.
  } catch {
    throw new MalformedBytesError('claims are no JSON');
  }
}
/** A code that only a newer edition knows is told as that of a busy writer: the upload comes again. */
function codeFrom(text: string): Code | '' {
  if (text === '') return '';
  return isCode(text) ? text : 'WRITES_BUSY';
}

import type { Code } from '@sluice/errors';
import { LIMITS } from './limits.ts';
import { type ParseContext, parseColumnRef } from './parse-context.ts';
import type { CastType, ConstantValue, Operand } from './query.ts';
import { type Fields, fieldsOf, listOf, nodeOf, spanOfTree, stringsOf, textOf, unexpectedField } from './sql-tree.ts';

/** Parses one side of a comparison: a column, a claim or a constant, perhaps cast. */
export function parseOperand(context: ParseContext, tree: unknown): Operand | undefined {
  const node = nodeOf(tree);
  if (node?.tag !== 'TypeCast') return parseBare(context, tree, undefined);
  const cast = castTypeOf(fieldsOf(node.fields.typeName));
  if (cast === undefined) {
    return refuse(context, tree, {
      code: 'RULES_COMPARISON_UNSUPPORTED',
      message: 'This cast can change what is equal.',
      hint: 'Casts to text, integer types, uuid and boolean are understood; compare values of the column’s own type.',
    });
  }
  return parseBare(context, node.fields.arg, cast);
}

const CAST_TYPES: ReadonlyMap<string, CastType> = new Map([
  ['text', 'text'],
  ['varchar', 'text'],
  ['int2', 'int2'],
  ['int4', 'int4'],
  ['int8', 'int8'],
  ['uuid', 'uuid'],
  ['bool', 'bool'],
]);

function castTypeOf(typeName: Fields): CastType | undefined {
  if (unexpectedField(typeName, ['names', 'typemod', 'location']) !== undefined) return undefined;
  const names = stringsOf(typeName, 'names') ?? [];
  if (names.length === 2 && names[0] !== 'pg_catalog') return undefined;
  return names.length === 1 || names.length === 2 ? CAST_TYPES.get(names.at(-1) ?? '') : undefined;
}

function parseBare(context: ParseContext, tree: unknown, cast: CastType | undefined): Operand | undefined {
  const node = nodeOf(tree);
  const span = spanOfTree(context.text, tree);
  if (node?.tag === 'ColumnRef') {
    const column = parseColumnRef(context, node);
    if (column) return { kind: 'column', column, cast, span };
  }
  if (node?.tag === 'FuncCall') {
    const path = parseClaim(context, tree, node.fields);
    return path && { kind: 'claim', path, cast, span };
  }
  if (node?.tag === 'A_Const') {
    const value = constantOf(node.fields);
    if (value) return { kind: 'value', value, cast, span };
    return refuse(context, tree, {
      code: 'RULES_COMPARISON_UNSUPPORTED',
      message: 'Constants can be text, whole numbers and booleans.',
      hint: 'Equality of fractions and bit strings is not equality of their text; compare a column of another type.',
    });
  }
  if (node?.tag === 'SQLValueFunction') {
    return refuse(context, tree, {
      code: 'RULES_FUNCTION_UNKNOWN',
      message: 'The session of the database is not the session of your user.',
      hint: 'Use auth.user_id() for the user that syncs.',
    });
  }
  return refuse(context, tree, {
    code: 'RULES_CONDITION_UNSUPPORTED',
    message: 'A comparison is between a column, a claim and constants; this is an expression.',
    hint: stringsOf(node?.fields ?? {}, 'name')?.[0]?.startsWith('->')
      ? "Claims are read as auth.claim('a', 'b'); a value inside JSON needs a column of its own."
      : 'Keep the value in a column of its own and compare that.',
  });
}

function constantOf(fields: Fields): ConstantValue | undefined {
  if (fields.isnull === true) return { kind: 'null' };
  if (fields.boolval !== undefined) return { kind: 'bool', value: fieldsOf(fields.boolval).boolval === true };
  if (fields.sval !== undefined) return { kind: 'text', text: textOf(fieldsOf(fields.sval), 'sval') };
  if (fields.ival !== undefined) {
    const value = fieldsOf(fields.ival).ival ?? 0;
    return typeof value === 'number' ? { kind: 'int', value: BigInt(value) } : undefined;
  }
  // Whole numbers beyond 32 bits come as the text of a "float".
  const digits = textOf(fieldsOf(fields.fval), 'fval');
  return /^-?\d{1,40}$/.test(digits) ? { kind: 'int', value: BigInt(digits) } : undefined;
}

const FUNCTION_HINTS: ReadonlyMap<string, string> = new Map([
  ['auth.uid', 'The user id is auth.user_id().'],
  ['auth.jwt', "Claims are read as auth.claim('name'), nested ones as auth.claim('a', 'b')."],
  ['auth.role', "Write auth.claim('role')."],
  ['auth.email', "Write auth.claim('email')."],
  ['auth.parameter', "Values that the client chooses grant nothing; use a claim: auth.claim('name')."],
  ['now', 'Rows do not change buckets by the passing of time; filter by time in the client.'],
  ['lower', 'Keep the lower-case value in a column of its own.'],
]);

function parseClaim(context: ParseContext, tree: unknown, fields: Fields): readonly string[] | undefined {
  const name = stringsOf(fields, 'funcname')?.join('.') ?? '';
  const args = listOf(fields, 'args').map((arg) => claimKeyOf(arg));
  const extra = unexpectedField(fields, ['funcname', 'args', 'funcformat', 'location']);
  if (name !== 'auth.user_id' && name !== 'auth.claim') {
    return refuse(context, tree, {
      code: 'RULES_FUNCTION_UNKNOWN',
      message: 'Only auth.user_id() and auth.claim() can be called.',
      hint: FUNCTION_HINTS.get(name) ?? 'Keep the computed value in a column of its own and compare that.',
    });
  }
  if (extra === undefined && name === 'auth.user_id' && args.length === 0) return ['sub'];
  const isPath = args.length > 0 && args.length <= LIMITS.claimPathMax && args.every((key) => key !== undefined);
  if (extra === undefined && name === 'auth.claim' && isPath) return args;
  return refuse(context, tree, {
    code: 'RULES_FUNCTION_UNKNOWN',
    message:
      name === 'auth.user_id' ? 'auth.user_id() takes no arguments.' : 'auth.claim() takes the names of a claim.',
    hint:
      name === 'auth.user_id'
        ? "Write auth.user_id(), or auth.claim('name') for another claim."
        : `Write auth.claim('name'), or auth.claim('a', 'b') for a nested claim, up to ${LIMITS.claimPathMax} names of text.`,
  });
}

function claimKeyOf(arg: unknown): string | undefined {
  const node = nodeOf(arg);
  const sval = node?.tag === 'A_Const' ? node.fields.sval : undefined;
  const key = textOf(fieldsOf(sval), 'sval');
  return key !== '' && new TextEncoder().encode(key).length <= LIMITS.claimKeyBytesMax ? key : undefined;
}

function refuse(
  context: ParseContext,
  tree: unknown,
  problem: { code: Code; message: string; hint: string },
): undefined {
  return context.sink.refuse(spanOfTree(context.text, tree), problem);
}

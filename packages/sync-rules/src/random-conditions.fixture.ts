import fc from 'fast-check';
import { column, table } from './catalog.fixture.ts';
import type { Catalog } from './plan.ts';

/** Printed values by column; null is NULL. */
export type Row = Readonly<Record<string, string | null>>;
export type Claims = Readonly<Record<string, unknown>>;
export interface World {
  readonly row: Row;
  readonly claims: Claims;
  readonly members: readonly Row[];
}

/** A condition three times: in our rules, in Postgres' SQL with the claims put in, and by SQL's three-valued logic. */
export interface Condition {
  readonly rule: string;
  readonly sql: (claims: Claims) => string;
  readonly evaluate: (world: World) => boolean | null;
  readonly canNegate: boolean;
}

type ColumnType = 'text' | 'int' | 'uuid' | 'bool';

const UUIDS = ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'];
export const POOLS: Readonly<Record<ColumnType, readonly string[]>> = {
  text: ['', '1', 'true', 'null', 'a', 'A', 'a ', '\u00e9', 'e\u0301', `a","b`, `it's`, '\\', '007'],
  int: ['0', '1', '-1', '7', '32767'],
  uuid: UUIDS,
  bool: ['t', 'f'],
};
const CLAIM_VALUES: readonly unknown[] = [
  ...POOLS.text,
  ...UUIDS,
  UUIDS[0]?.toUpperCase(),
  0,
  1,
  -1,
  7,
  1.5,
  2 ** 53,
  true,
  false,
  null,
  {},
  [],
  ['1'],
  '01',
  '1.0',
  '\ud800',
];

export const ITEM_COLUMNS: Readonly<Record<string, ColumnType>> = {
  t: 'text',
  v: 'text',
  m: 'text',
  n: 'int',
  s: 'int',
  l: 'int',
  u: 'uuid',
  b: 'bool',
};
export const MEMBER_COLUMNS: Readonly<Record<string, ColumnType>> = {
  who: 'text',
  team: 'int',
  tag: 'uuid',
  ok: 'bool',
};

const items = table('items', [
  column('id', 'integer'),
  column('t', 'text'),
  column('v', 'character varying(20)'),
  column('m', 'text'),
  column('n', 'integer'),
  column('s', 'smallint'),
  column('l', 'bigint'),
  column('u', 'uuid'),
  column('b', 'bool'),
]);
const members = table('members', [
  column('id', 'bigint'),
  column('who', 'text'),
  column('team', 'bigint'),
  column('tag', 'uuid'),
  column('ok', 'bool'),
]);
export const randomCatalog: Catalog = { tables: [items, members] };
export { items, members };

function rowArbitrary(columns: Readonly<Record<string, ColumnType>>): fc.Arbitrary<Row> {
  return fc.record(
    Object.fromEntries(
      Object.entries(columns).map(([name, type]) => [
        name,
        fc.oneof(
          { weight: 1, arbitrary: fc.constant(null) },
          { weight: 4, arbitrary: fc.constantFrom(...POOLS[type]) },
        ),
      ]),
    ),
  );
}
export const itemRow = rowArbitrary(ITEM_COLUMNS);
export const memberRows = fc.array(rowArbitrary(MEMBER_COLUMNS), { maxLength: 6 });
export const tokenClaims: fc.Arbitrary<Claims> = fc.record(
  { sub: fc.constantFrom(...CLAIM_VALUES), x: fc.constantFrom(...CLAIM_VALUES), y: fc.constantFrom(...CLAIM_VALUES) },
  { requiredKeys: [] },
);

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
const SQL_TYPES: Readonly<Record<ColumnType, string>> = { text: 'text', int: 'int8', uuid: 'uuid', bool: 'bool' };

/** The claim as a printed value of the type; null where no value can be equal. Written apart from what it checks. */
function claimText(type: ColumnType, claim: unknown): string | null {
  if (type === 'bool') return typeof claim === 'boolean' ? (claim ? 't' : 'f') : null;
  if (type === 'int' && typeof claim === 'number' && Number.isSafeInteger(claim)) return claim.toString();
  if (typeof claim !== 'string' || claim === '\ud800') return null;
  if (type === 'int') return claim === String(Number.parseInt(claim, 10)) ? claim : null;
  if (type === 'uuid') return UUIDS.includes(claim.toLowerCase()) ? claim.toLowerCase() : null;
  return claim;
}

const CLAIMS = { sub: 'auth.user_id()', x: "auth.claim('x')", y: "auth.claim('y')" } as const;
const anyClaim = fc.constantFrom('sub' as const, 'x' as const, 'y' as const);

function equal(a: string | null, b: string | null): boolean | null {
  return a === null || b === null ? null : a === b;
}
const not = (value: boolean | null) => (value === null ? null : !value);

function rowAtoms(columns: Readonly<Record<string, ColumnType>>, qualifier: string): fc.Arbitrary<Condition> {
  const anyColumn = fc.constantFrom(...Object.entries(columns));
  const compare = fc
    .tuple(anyColumn, fc.boolean(), fc.boolean(), fc.nat())
    .map(([[name, type], isEqual, flipped, pick]): Condition => {
      const pool = POOLS[type];
      const value = pool[pick % pool.length] ?? '';
      const constant = type === 'int' && pick % 2 === 0 ? value : quote(value);
      const sides = flipped ? [constant, qualifier + name] : [qualifier + name, constant];
      const text = sides.join(isEqual ? ' = ' : ' <> ');
      const evaluate = ({ row }: World) =>
        isEqual ? equal(row[name] ?? null, value) : not(equal(row[name] ?? null, value));
      return { rule: text, sql: () => text, evaluate, canNegate: true };
    });
  const inList = fc
    .tuple(anyColumn, fc.boolean(), fc.array(fc.nat(), { minLength: 1, maxLength: 3 }))
    .map(([[name, type], isIn, picks]): Condition => {
      const values = picks.map((pick) => POOLS[type][pick % POOLS[type].length] ?? '');
      const text = `${qualifier}${name} ${isIn ? 'IN' : 'NOT IN'} (${values.map(quote).join(', ')})`;
      const evaluate = ({ row }: World) => {
        const value = row[name] ?? null;
        return value === null ? null : values.includes(value) === isIn;
      };
      return { rule: text, sql: () => text, evaluate, canNegate: true };
    });
  const nullTest = fc.tuple(anyColumn, fc.boolean()).map(([[name], isNull]): Condition => {
    const text = `${qualifier}${name} IS ${isNull ? '' : 'NOT '}NULL`;
    return {
      rule: text,
      sql: () => text,
      evaluate: ({ row }) => ((row[name] ?? null) === null) === isNull,
      canNegate: true,
    };
  });
  const bools = Object.keys(columns).filter((name) => columns[name] === 'bool');
  const boolColumn = fc.constantFrom(...bools).map((name): Condition => {
    const text = qualifier + name;
    return { rule: text, sql: () => text, evaluate: ({ row }) => equal(row[name] ?? null, 't'), canNegate: true };
  });
  return fc.oneof(compare, inList, nullTest, boolColumn);
}

const tokenAtoms: fc.Arbitrary<Condition> = fc
  .tuple(anyClaim, fc.boolean(), fc.constantFrom<string | number | boolean>('a', '', '1', 1, -1, true, false))
  .map(([name, isEqual, constant]) => {
    const evaluate = ({ claims }: Pick<World, 'claims'>) => {
      const claim = Object.hasOwn(claims, name) ? claims[name] : null;
      // A claim of another JSON type, or one that JSON rounded, compares as unknown.
      if (typeof claim !== typeof constant || claim === 2 ** 53) return null;
      return (claim === constant) === isEqual;
    };
    const right = typeof constant === 'string' ? quote(constant) : String(constant);
    return {
      rule: `${CLAIMS[name]} ${isEqual ? '=' : '<>'} ${right}`,
      sql: (claims: Claims) => String(evaluate({ claims }) ?? 'NULL::bool'),
      evaluate,
      canNegate: true,
    };
  });

function claimAtoms(columns: Readonly<Record<string, ColumnType>>, qualifier: string): fc.Arbitrary<Condition> {
  return fc
    .tuple(fc.constantFrom(...Object.entries(columns)), anyClaim, fc.boolean())
    .map(([[name, type], claim, cast]) => {
      const asText = cast && type !== 'bool';
      const left = `${qualifier}${name}${asText ? '::text' : ''}`;
      const compared = asText ? 'text' : type;
      return {
        rule: `${left} = ${CLAIMS[claim]}`,
        sql: (claims: Claims) => {
          const text = claimText(compared, claims[claim]);
          return `${left} = ${text === null ? 'NULL' : quote(text)}::${SQL_TYPES[compared]}`;
        },
        evaluate: ({ row, claims }: World) => equal(row[name] ?? null, claimText(compared, claims[claim])),
        canNegate: false,
      };
    });
}

function all(parts: readonly Condition[]): Condition {
  return combined(parts, 'AND');
}

function combined(parts: readonly Condition[], operator: 'AND' | 'OR'): Condition {
  const [decisive, other] = operator === 'AND' ? [false, true] : [true, false];
  return {
    rule: parts.map(({ rule }) => `(${rule})`).join(` ${operator} `),
    sql: (claims) => parts.map(({ sql }) => `(${sql(claims)})`).join(` ${operator} `),
    evaluate: (world) => {
      const values = parts.map(({ evaluate }) => evaluate(world));
      if (values.includes(decisive)) return decisive;
      return values.includes(null) ? null : other;
    },
    canNegate: parts.every(({ canNegate }) => canNegate),
  };
}

const membershipAtoms: fc.Arbitrary<Condition> = fc
  .tuple(
    fc.constantFrom(['t', 'who'], ['m', 'who'], ['n', 'team'], ['s', 'team'], ['l', 'team'], ['u', 'tag'], ['b', 'ok']),
    claimAtoms(MEMBER_COLUMNS, 'members.'),
    fc.array(fc.oneof(rowAtoms(MEMBER_COLUMNS, ''), tokenAtoms, claimAtoms(MEMBER_COLUMNS, '')), { maxLength: 2 }),
    fc.option(claimAtoms(MEMBER_COLUMNS, '')),
  )
  .map(([[name = '', output = ''], claim, rest, alternative]) => {
    const first = all([claim, ...rest]);
    const where = alternative ? combined([first, alternative], 'OR') : first;
    const outer = `items.${name}`;
    const query = `SELECT ${output} FROM members WHERE`;
    return {
      rule: `${outer} IN (${query} ${where.rule})`,
      sql: (claims: Claims) => `${outer} IN (${query} ${where.sql(claims)})`,
      evaluate: ({ row, claims, members: rows }: World) => {
        const values = rows.filter((member) => where.evaluate({ row: member, claims, members: rows }) === true);
        const found = values.map((member) => equal(row[name] ?? null, member[output] ?? null));
        if (found.includes(true)) return true;
        return found.includes(null) ? null : false;
      },
      canNegate: false,
    };
  });

const constants: fc.Arbitrary<Condition> = fc.boolean().map((value) => {
  const text = value ? 'TRUE' : 'FALSE';
  return { rule: text, sql: () => text, evaluate: () => value, canNegate: true };
});

/** Any condition of the accepted language over `items`, of a size that mostly stays within the limits. */
export const anyCondition: fc.Arbitrary<Condition> = fc.letrec<{ tree: Condition }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthSize: 'medium' },
    { weight: 3, arbitrary: rowAtoms(ITEM_COLUMNS, 'items.') },
    { weight: 3, arbitrary: claimAtoms(ITEM_COLUMNS, '') },
    { weight: 2, arbitrary: membershipAtoms },
    { weight: 2, arbitrary: tokenAtoms },
    { weight: 1, arbitrary: constants },
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.array(tie('tree'), { minLength: 2, maxLength: 3 }), fc.constantFrom('AND' as const, 'OR' as const))
        .map(([parts, operator]) => combined(parts, operator)),
    },
    {
      weight: 2,
      arbitrary: tie('tree').map((arg) =>
        arg.canNegate
          ? {
              rule: `NOT (${arg.rule})`,
              sql: (claims: Claims) => `NOT (${arg.sql(claims)})`,
              evaluate: (world: World) => not(arg.evaluate(world)),
              canNegate: true,
            }
          : arg,
      ),
    },
  ),
})).tree;

import type { SeededRandom } from '@sluice/testkit';

const USERS = ['ana', 'ben', 'cleo', 'dan', 'nobody'];
const REGIONS = ["'north'", "'south'", 'null'];
const TYPES = ['int', 'text', 'numeric(8,2)', 'bool', 'timestamptz', 'float8'];
const EXTRA_COLUMNS = ['x1', 'x2', 'x3'];

/**
 * Writes transactions and changes of tables, each a function of the random choices so far and of what the tables hold, so
 * that a seed replays a history. Every statement succeeds whatever the tables hold.
 */
export class RandomStatements {
  readonly #random: SeededRandom;
  /** Of the extra columns of `tasks`. */
  readonly #extras = new Map<string, string>();
  #lastId = 1000;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** One to four statements that belong together. */
  transaction(): string[] {
    const count = this.#random.pick([1, 1, 1, 2, 3, 4]);
    return Array.from({ length: count }, () => this.#statements()).flat();
  }

  /** One change of a table's columns, and which of the clients' columns it concerns, as `table.column`. */
  tableChange(): { readonly statement: string; readonly columns: readonly string[] } {
    const random = this.#random;
    const present = [...this.#extras.keys()];
    const absent = EXTRA_COLUMNS.filter((column) => !this.#extras.has(column));
    const kinds = [
      ...(absent.length > 0 ? (['add', 'add'] as const) : []),
      ...(present.length > 0 ? (['drop', 'retype'] as const) : []),
      ...(absent.length > 0 && present.length > 0 ? (['rename'] as const) : []),
      ...(['unselected', 'retype points'] as const),
    ];
    const changed = (statement: string, ...columns: readonly string[]) => ({
      statement: `alter table tasks ${statement}`,
      columns: columns.map((column) => `tasks.${column}`),
    });
    switch (random.pick(kinds)) {
      case 'add': {
        const [column, type] = [random.pick(absent), random.pick(TYPES)];
        this.#extras.set(column, type);
        const fallback = random.chance(0.5) ? ` default ${this.#literal(type)}` : '';
        return changed(`add column ${column} ${type}${fallback}`, column);
      }
      case 'drop': {
        const column = random.pick(present);
        this.#extras.delete(column);
        return changed(`drop column ${column}`, column);
      }
      case 'rename': {
        const [column, renamed] = [random.pick(present), random.pick(absent)];
        this.#extras.set(renamed, this.#extras.get(column) ?? 'text');
        this.#extras.delete(column);
        return changed(`rename column ${column} to ${renamed}`, column, renamed);
      }
      case 'retype': {
        const [column, type] = [random.pick(present), random.pick(TYPES)];
        this.#extras.set(column, type);
        return changed(
          `alter column ${column} drop default, alter column ${column} type ${type} using null::${type}`,
          column,
        );
      }
      case 'retype points':
        return changed(`alter column points type ${random.pick(['float8', 'numeric', 'real'])}`, 'points');
      case 'unselected':
        return { statement: this.#unselectedColumn(), columns: [] };
    }
  }

  /** Some hundred rows. */
  bulkInsert(): string {
    return this.#insertTasks(this.#random.int(100, 400));
  }

  /** A row of the table whose columns change. */
  touchTasks(): string {
    return this.#insertTasks(1);
  }

  /** A column that no stream selects. */
  #unselectedColumn(): string {
    return this.#random.chance(0.5)
      ? 'alter table notes add column if not exists hidden text default md5(random()::text)'
      : 'alter table notes drop column if exists hidden';
  }

  #statements(): string[] {
    const random = this.#random;
    const kind = random.pick(STATEMENT_WHEEL);
    const task = this.#some('tasks');
    switch (kind) {
      case 'insert':
        return [this.#insertTasks(random.int(1, 5))];
      case 'bulk insert':
        return [this.bulkInsert()];
      case 'title':
        return [`update tasks set title = 'title ${this.#id()}'${this.#extraAssignment()} where id = ${task}`];
      case 'body':
        return [`update tasks set body = repeat('b${this.#id()} ', ${random.int(0, 3000)}) where id = ${task}`];
      case 'bulk update':
        return [`update tasks set points = points + 0.1, at = now() where id % ${random.int(2, 9)} = 0`];
      case 'no-op':
        return [`update tasks set title = title, done = done where id % ${random.int(1, 9)} = 0`];
      case 'owner':
        return [`update tasks set owner = '${random.pick(USERS)}' where id = ${task}`];
      case 'team':
        return [
          `update tasks set team_id = ${random.pick(['1', '2', '3', '4', 'null'])} where id % 7 = ${random.int(0, 6)}`,
        ];
      case 'region':
        return [`update tasks set region = ${random.pick(REGIONS)}, done = not done where id = ${task}`];
      case 'key':
        return [
          `update tasks set id = ${this.#id()} where id = ${task}`,
          `update notes set a = a + ${this.#id()} where a % 5 = 0`,
        ];
      case 'swap':
        return this.#swapKeys(this.#some('tasks'), this.#some('tasks'));
      case 'delete':
        return [`delete from tasks where id = ${task}`];
      case 'bulk delete':
        return [`delete from tasks where id % ${random.int(3, 9)} = 0`];
      case 'again':
        return [
          `create temp table again on commit drop as select * from tasks where id = ${task}`,
          'delete from tasks where id in (select id from again)',
          'insert into tasks select * from again',
          'drop table again',
        ];
      case 'rolled back':
        return ['savepoint s', 'delete from tasks', this.#insertTasks(2), 'rollback to s'];
      case 'truncate tasks':
        return ['truncate tasks', this.#insertTasks(random.int(0, 20))];
      case 'truncate members':
        return ['truncate members', this.#grant()];
      case 'truncate all':
        return [this.#insertTasks(3), 'truncate tasks, notes, teams'];
      case 'note':
        return [`insert into notes values (${this.#id()}, 'n', '${random.pick(USERS)}', ${random.int(-999, 999)}.50)`];
      case 'note owner':
        return [
          `update notes set owner = '${random.pick(USERS)}', "Größe" = "Größe" * 2 where a % 3 = ${random.int(0, 2)}`,
        ];
      case 'grant':
        return [this.#grant()];
      case 'revoke':
        return [`delete from members where id = ${this.#some('members')}`];
      case 'move member':
        return [`update members set team_id = ${random.int(1, 4)} where id = ${this.#some('members')}`];
      case 'role':
        return [
          `update members set role = '${random.pick(['lead', 'guest', 'member'])}' where id = ${this.#some('members')}`,
        ];
      case 'hand over':
        return [
          `update members set user_name = '${random.pick(USERS)}', id = ${this.#id()} where id = ${this.#some('members')}`,
        ];
      case 'team name':
        return [
          `insert into teams values (${random.int(1, 4)}, 't${this.#id()}') on conflict (id) do update set name = excluded.name`,
        ];
      case 'transfer':
        return [
          `update accounts set balance = balance - 7 where id = ${random.int(1, 5)}`,
          `update accounts set balance = balance + 7 where id = ${random.int(6, 10)}`,
        ];
    }
  }

  #insertTasks(count: number): string {
    const random = this.#random;
    const from = this.#lastId + 1;
    this.#lastId += Math.max(1, count);
    const team = random.pick(['1', '2', '3', '4', 'null', '1 + i % 4']);
    const body = random.chance(0.2) ? "repeat('long ' || i, 900)" : 'null';
    return `insert into tasks (id, team_id, owner, region, title, points, done, at, body)
      select i, ${team}, '${random.pick(USERS)}', ${random.pick(REGIONS)}, 'new ' || i, i * 0.3, i % 3 = 0, null, ${body}
      from generate_series(${from}, ${from + count - 1}) i`;
  }
  #grant(): string {
    const random = this.#random;
    return `insert into members values (${this.#id()}, ${random.int(1, 4)}, '${random.pick(USERS)}', '${random.pick(['lead', 'guest', 'member'])}')`;
  }
  #swapKeys(one: string, other: string): string[] {
    return [
      `create temp table swapped on commit drop as select ${one} one, ${other} other`,
      'update tasks set id = -1 where id = (select one from swapped)',
      'update tasks set id = (select one from swapped) where id = (select other from swapped)',
      'update tasks set id = (select other from swapped) where id = -1 and (select one <> other from swapped)',
      'update tasks set id = (select one from swapped) where id = -1',
      'drop table swapped',
    ];
  }
  #extraAssignment(): string {
    const [column, type] = this.#random.shuffle([...this.#extras])[0] ?? [];
    return column === undefined || type === undefined ? '' : `, ${column} = ${this.#literal(type)}`;
  }
  #literal(type: string): string {
    const n = this.#random.int(-500, 500);
    if (type === 'bool') return n > 0 ? 'true' : 'null';
    if (type === 'timestamptz') return `timestamptz '2024-01-01 00:00:00+00' + interval '${n} hours'`;
    if (type === 'text') return `'text ${n}'`;
    return String(n);
  }

  /** The key of one row, or NULL. The choice is made here, so that a seed replays it. */
  #some(table: 'tasks' | 'members'): string {
    const choice = this.#random.int(0, 1_000_000);
    return `(select id from ${table} order by id limit 1 offset ${choice} % greatest(1, (select count(*) from ${table})))`;
  }
  #id(): number {
    this.#lastId++;
    return this.#lastId;
  }
}

const STATEMENT_WHEEL = [
  ...['insert', 'insert', 'insert', 'title', 'title', 'title', 'body', 'no-op', 'owner', 'owner', 'team', 'region'],
  ...['region', 'key', 'swap', 'delete', 'delete', 'again', 'rolled back', 'note', 'note owner', 'grant', 'grant'],
  ...['revoke', 'revoke', 'move member', 'role', 'hand over', 'team name', 'transfer', 'transfer', 'bulk insert'],
  ...['bulk update', 'bulk delete', 'truncate tasks', 'truncate members', 'truncate all'],
] as const;

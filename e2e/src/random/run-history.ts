import type { SeededRandom } from '@sluice/testkit';
import { CodedTroubles } from '../oracle/coded-troubles.ts';
import { Finding } from '../oracle/finding.ts';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import type { Stack } from '../stack/stack.ts';
import type { SyncClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';
import { RandomStatements } from './random-statements.ts';
import { EXTRA_STREAM, RANDOM_STREAMS, RANDOM_USERS, randomTablesSql } from './random-tables.ts';

const STEPS = 40;
const CLIENTS_MAX = 8;

export interface HistoryOptions {
  /** Among how many shards the rows are divided; one, if left out. */
  readonly shards?: number;
  /** No table changes. */
  readonly keepsTables?: boolean;
  /** Nothing happens that is a reason to copy the source again, so that its first epoch must still serve at the end. */
  readonly keepsEpoch?: boolean;
  /** What else must hold once all clients are equal to SQL. @throws Finding */
  readonly atEnd?: (stack: Stack, tenant: Tenant) => Promise<void>;
}

/**
 * One random history: transactions, changes of tables, memberships that come and go, clients that connect, hang up, lose
 * their link and resume, the project's stream cut or restarted under all of it. At every checkpoint every client must show
 * what SQL gave after one commit (L12), and at the end all must equal SQL.
 */
export async function runHistory(
  stack: Stack,
  random: SeededRandom,
  ref: string,
  options: HistoryOptions = {},
): Promise<void> {
  const trail: string[] = [];
  const tenant = await stack.addTenant({ ref, tablesSql: randomTablesSql(random), streams: RANDOM_STREAMS });
  try {
    if (options.shards !== undefined) await stack.dataPlane.replicator.reshard(tenant.project, options.shards);
    const check = await PrefixCheck.begin(tenant, RANDOM_USERS);
    const history = new History({ stack, tenant, check, random, trail, options });
    await history.run();
  } catch (error) {
    const told = `seed ${random.seed}, after these steps:\n${trail.join('\n')}\n${stack.log()}`;
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${told}`, { cause: error });
  } finally {
    await stack.removeTenant(tenant);
  }
}

class History {
  readonly #stack: Stack;
  readonly #tenant: Tenant;
  readonly #check: PrefixCheck;
  readonly #random: SeededRandom;
  readonly #statements: RandomStatements;
  readonly #trail: string[];
  readonly #options: HistoryOptions;
  readonly #troubles = new CodedTroubles();
  readonly #clients: { readonly client: SyncClient; isOn: boolean }[] = [];

  constructor(of: {
    readonly stack: Stack;
    readonly tenant: Tenant;
    readonly check: PrefixCheck;
    readonly random: SeededRandom;
    readonly trail: string[];
    readonly options: HistoryOptions;
  }) {
    this.#stack = of.stack;
    this.#tenant = of.tenant;
    this.#check = of.check;
    this.#random = of.random;
    this.#statements = new RandomStatements(of.random);
    this.#trail = of.trail;
    this.#options = of.options;
  }

  async run(): Promise<void> {
    await this.#connect();
    for (let step = 0; step < STEPS; step++) await this.#step();
    await this.#expectEqual();
    await this.#options.atEnd?.(this.#stack, this.#tenant);
    const leaks = this.#clients.flatMap(({ client }) => this.#check.leaks(client));
    if (leaks.length > 0) throw new Finding(leaks.slice(0, 10).join('\n'));
  }

  async #step(): Promise<void> {
    this.#troubles.check();
    const random = this.#random;
    const kind = random.pick(this.#options.keepsTables ? STEPS_THAT_KEEP_TABLES : STEP_WHEEL);
    if (kind === 'transaction') return this.#commit(this.#statements.transaction());
    if (kind === 'table change') return this.#changeTable();
    this.#trail.push(`-- ${kind}`);
    if (kind === 'connect') return this.#connect();
    if (kind === 'settle') return this.#expectEqual();
    if (kind === 'restart project') return this.#restartProject();
    if (kind === 'kill senders') return this.#killSenders();
    if (kind === 'kill store sessions') return this.#stack.killStoreSessions();
    if (kind === 'deploy') return this.#deploy();
    const one = random.pick(this.#clients);
    if (kind === 'cut') one.client.tap.cut();
    else if (one.isOn) one.client.sdk.disconnect();
    else one.client.sdk.connect();
    if (kind !== 'cut') one.isOn = !one.isOn;
  }

  async #commit(statements: readonly string[]): Promise<void> {
    this.#trail.push(`begin; ${statements.join('; ')}; commit;`);
    await this.#check.commit(...statements);
  }

  async #changeTable(): Promise<void> {
    const { statement, columns } = this.#statements.tableChange();
    for (const column of columns) this.#check.unsettled.add(column);
    await this.#commit([statement]);
  }

  async #connect(): Promise<void> {
    if (this.#clients.length >= CLIENTS_MAX) return;
    const client = await this.#tenant.connect(this.#random.pick(RANDOM_USERS), { tapped: true });
    this.#check.watch(client);
    this.#troubles.watch(client);
    this.#clients.push({ client, isOn: true });
  }

  /** Adds or drops a stream while transactions go on. */
  async #deploy(): Promise<void> {
    const isPresent = this.#tenant.streams.includes(EXTRA_STREAM);
    this.#check.tableUnsettled(EXTRA_STREAM.table);
    const deploying = this.#tenant.deploy(isPresent ? RANDOM_STREAMS : [...RANDOM_STREAMS, EXTRA_STREAM]);
    await this.#check.look();
    for (let i = 0; i < 3; i++) await this.#commit(this.#statements.transaction());
    await deploying;
    await this.#check.look();
  }

  async #restartProject(): Promise<void> {
    const { dataPlane } = this.#stack;
    await dataPlane.stopProject(this.#tenant.project);
    dataPlane.startProject(this.#tenant.project);
  }

  async #killSenders(): Promise<void> {
    await this.#tenant.source.writer.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'sluice'`,
    );
  }

  async #expectEqual(): Promise<void> {
    for (const one of this.#clients) {
      if (!one.isOn) one.client.sdk.connect();
      one.isOn = true;
    }
    // A changed table is noticed at its next row.
    await this.#commit([this.#statements.touchTasks()]);
    const clients = this.#clients.map(({ client }) => client);
    const isEqual = () =>
      this.#options.keepsTables ? this.#tenant.expectEqual(...clients) : this.#tenant.becomeEqual(...clients);
    await this.#troubles.during(isEqual);
    const problems = this.#check.problems();
    if (problems.length > 0) throw new Finding(problems.join('\n'));
    this.#check.unsettled.clear();
    if (this.#options.keepsEpoch) await this.#expectFirstEpoch();
  }

  /** L2: whatever was cut or restarted, the stream went on where it stood. */
  async #expectFirstEpoch(): Promise<void> {
    const source = await this.#stack.dataPlane.store.readSource(this.#tenant.project);
    const epoch = Number(source?.serving?.epoch);
    if (epoch !== 1) throw new Finding(`epoch ${epoch} serves: the source was copied again without a reason`);
  }
}

const STEP_WHEEL = [
  ...Array.from({ length: 14 }, () => 'transaction' as const),
  ...(['table change', 'table change', 'connect', 'connect', 'hang up or resume', 'hang up or resume'] as const),
  ...(['cut', 'cut', 'settle', 'restart project', 'kill senders'] as const),
  ...(['kill store sessions', 'deploy'] as const),
];
const STEPS_THAT_KEEP_TABLES = STEP_WHEEL.filter((kind) => kind !== 'table change');

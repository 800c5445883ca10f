import { PrismaPg } from '@prisma/adapter-pg';
import type { Clock } from '@sluice/domain';
import { Prisma, PrismaClient } from './generated/client.ts';
import { ClientAuths } from './repositories/client-auths.ts';
import { Projects } from './repositories/projects.ts';
import { ProvisioningJobs } from './repositories/provisioning-jobs.ts';
import { RulesVersions } from './repositories/rules-versions.ts';
import { Sources } from './repositories/sources.ts';

/** The control database. Every repository method takes the project that it is about. */
export interface Database {
  readonly projects: Projects;
  readonly sources: Sources;
  readonly rules: RulesVersions;
  readonly clientAuths: ClientAuths;
  readonly jobs: ProvisioningJobs;
  /** Resolves when the database answers. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Connects on first use. @param options.connectionsMax size of the pool; 10 unless given */
export function openDatabase(options: { url: string; clock: Clock; connectionsMax?: number }): Database {
  const { url, clock, connectionsMax = 10 } = options;
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: connectionsMax }) });
  return {
    projects: new Projects(prisma, clock),
    sources: new Sources(prisma, clock),
    rules: new RulesVersions(prisma),
    clientAuths: new ClientAuths(prisma, clock),
    jobs: new ProvisioningJobs(prisma, clock),
    async ping() {
      await prisma.$queryRaw`SELECT 1`;
    },
    async close() {
      await prisma.$disconnect();
    },
  };
}

/** Prisma's codes for a server that cannot be reached, closed the connection, timed out or had no connection left. */
const UNAVAILABLE_CODES = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2037', 'ECONNREFUSED', 'ECONNRESET']);

/** Whether an error thrown by a repository says that the database is out of reach rather than that something is wrong. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (error instanceof Prisma.PrismaClientInitializationError) return true;
  return error instanceof Prisma.PrismaClientKnownRequestError && UNAVAILABLE_CODES.has(error.code);
}

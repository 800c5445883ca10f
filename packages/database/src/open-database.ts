import { PrismaPg } from '@prisma/adapter-pg';
import type { Clock } from '@sluice/domain';
import { PrismaClient } from './generated/client.ts';
import { ClientAuths } from './repositories/client-auths.ts';
import { Projects } from './repositories/projects.ts';
import { ProvisioningJobs } from './repositories/provisioning-jobs.ts';
import { RulesVersions } from './repositories/rules-versions.ts';
import { Sources } from './repositories/sources.ts';
import { orUnavailable } from './unavailable.ts';

/**
 * The control database. Every repository method takes the project that it is about, and throws AppError API_UNAVAILABLE when the
 * database does not answer.
 */
export interface Database {
  readonly projects: Projects;
  readonly sources: Sources;
  readonly rules: RulesVersions;
  readonly clientAuths: ClientAuths;
  readonly jobs: ProvisioningJobs;
  /** Resolves when the database answers. @throws AppError API_UNAVAILABLE */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Connects on first use. @param options.connectionsMax size of the pool; 10 unless given */
export function openDatabase(options: { url: string; clock: Clock; connectionsMax?: number }): Database {
  const { url, clock, connectionsMax = 10 } = options;
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: connectionsMax }) });
  const connection = orUnavailable({
    async ping() {
      await prisma.$queryRaw`SELECT 1`;
    },
    async close() {
      await prisma.$disconnect();
    },
  });
  return {
    ...connection,
    projects: orUnavailable(new Projects(prisma, clock)),
    sources: orUnavailable(new Sources(prisma, clock)),
    rules: orUnavailable(new RulesVersions(prisma)),
    clientAuths: orUnavailable(new ClientAuths(prisma, clock)),
    jobs: orUnavailable(new ProvisioningJobs(prisma, clock)),
  };
}

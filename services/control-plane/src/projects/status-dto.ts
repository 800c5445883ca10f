import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { storedProblemSchema } from '../http/problem.ts';

/**
 * One word for how a project is doing, and every reason that it is not better. `setting-up`: something is still to be
 * done by its team; `provisioning`: a job is at work; `live`: clients are served; `failing`: see the problems.
 */
export class StatusDto extends createZodDto(
  z
    .strictObject({
      status: z.enum(['setting-up', 'provisioning', 'live', 'failing', 'deleting']),
      missing: z.array(z.enum(['source', 'client-auth', 'rules'])).describe('What the team has still to set.'),
      problems: z.array(storedProblemSchema),
    })
    .meta({ id: 'ProjectStatus', examples: [{ status: 'live', missing: [], problems: [] }] }),
) {}

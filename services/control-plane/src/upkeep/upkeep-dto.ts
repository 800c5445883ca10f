import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';

/** More shards than this never helped one project; the control database refuses them too. */
const SHARDS_MAX = 64;

export class PostShardsDto extends createZodDto(
  z
    .strictObject({ shards: z.int().min(1).max(SHARDS_MAX).describe('Among how many shards the rows are divided.') })
    .meta({ id: 'PostShards', examples: [{ shards: 4 }] }),
) {}

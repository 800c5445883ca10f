import { AppError, type Code } from '@sluice/errors';
import { isReply } from './redis-link.ts';

/** What is wrong now, told once however many links and shards are concerned, and again only after all was well. */
export class Troubles {
  private readonly tell: (error: AppError) => void;
  private readonly whoByCode = new Map<Code, Set<string>>();

  constructor(tell: (error: AppError) => void) {
    this.tell = tell;
  }

  begin(who: string, error: AppError): void {
    const others = this.whoByCode.get(error.code) ?? new Set();
    if (others.size === 0) this.tell(error);
    this.whoByCode.set(error.code, others.add(who));
  }

  end(who: string): void {
    for (const others of this.whoByCode.values()) others.delete(who);
  }
}

/** What the operator is told when Redis answered with an error. */
export function refusal(error: unknown): AppError {
  const internal = error instanceof Error ? error.message : 'unknown failure';
  return new AppError(isReply(error, 'OOM') ? 'QUEUE_MEMORY_FULL' : 'QUEUE_UNAVAILABLE', { internal });
}

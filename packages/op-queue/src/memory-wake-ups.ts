import type { ProjectId } from '@sluice/domain';
import type { WakeUp, WakeUps } from './port.ts';

/**
 * Wake-ups within one process, in order. They are delivered after the publisher's turn, so that no listener runs inside
 * it; a listener that throws is a bug and surfaces as an unhandled error.
 */
export function createMemoryWakeUps(): WakeUps {
  const listeners = new Map<ProjectId | 'all', Set<(wakeUp: WakeUp) => void>>();
  return {
    publish(wakeUp) {
      for (const key of [wakeUp.project, 'all'] as const)
        for (const listener of listeners.get(key) ?? [])
          queueMicrotask(() => {
            // It may have ended its subscription since.
            if (listeners.get(key)?.has(listener)) listener(wakeUp);
          });
    },
    subscribe(project, listener) {
      const own = (wakeUp: WakeUp): void => listener(wakeUp);
      const set = listeners.get(project) ?? new Set();
      listeners.set(project, set.add(own));
      return () => {
        set.delete(own);
        if (set.size === 0 && listeners.get(project) === set) listeners.delete(project);
      };
    },
  };
}

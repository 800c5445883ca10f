import type { ProjectId } from '@sluice/domain';

export interface Bound {
  readonly count: number;
  readonly bytes: number;
}

/** What is under way, of each project and in all (L16). */
export class Shares {
  readonly #perProject: Bound;
  readonly #inAll: Bound;
  readonly #usedByProject = new Map<ProjectId, Bound>();
  #used: Bound = { count: 0, bytes: 0 };

  constructor(perProject: Bound, inAll: Bound) {
    this.#perProject = perProject;
    this.#inAll = inAll;
  }

  /** Undefined when there is no room; the result, called once, gives it back. */
  take(project: ProjectId, bytes: number): (() => void) | undefined {
    const own = this.#usedByProject.get(project) ?? { count: 0, bytes: 0 };
    if (!hasRoom(own, bytes, this.#perProject) || !hasRoom(this.#used, bytes, this.#inAll)) return undefined;
    this.#move(project, 1, bytes);
    return () => this.#move(project, -1, -bytes);
  }

  #move(project: ProjectId, count: number, bytes: number): void {
    const own = this.#usedByProject.get(project) ?? { count: 0, bytes: 0 };
    this.#used = { count: this.#used.count + count, bytes: this.#used.bytes + bytes };
    if (own.count + count === 0) this.#usedByProject.delete(project);
    else this.#usedByProject.set(project, { count: own.count + count, bytes: own.bytes + bytes });
  }
}

function hasRoom(used: Bound, bytes: number, max: Bound): boolean {
  return used.count < max.count && used.bytes + bytes <= max.bytes;
}

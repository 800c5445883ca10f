import type { Clock, ProjectId } from '@sluice/domain';
import type { CompiledRules } from '@sluice/sync-rules';

/** How long rules are believed when nobody says that they changed. */
const KEPT_MS = 10_000;

interface Entry {
  readonly rules: Promise<CompiledRules | undefined>;
  readonly untilMs: number;
}

/** The rules in force, read once for the many uploads that come together. */
export class RulesCache {
  readonly #rulesOf: (project: ProjectId) => Promise<CompiledRules | undefined>;
  readonly #clock: Clock;
  readonly #entryByProject = new Map<ProjectId, Entry>();

  constructor(rulesOf: (project: ProjectId) => Promise<CompiledRules | undefined>, clock: Clock) {
    this.#rulesOf = rulesOf;
    this.#clock = clock;
  }

  rulesOf(project: ProjectId): Promise<CompiledRules | undefined> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#entryByProject.get(project);
    if (known && nowMs < known.untilMs) return known.rules;
    const entry = { rules: this.#rulesOf(project), untilMs: nowMs + KEPT_MS };
    this.#entryByProject.set(project, entry);
    entry.rules.catch(() => {
      if (this.#entryByProject.get(project) === entry) this.#entryByProject.delete(project);
    });
    return entry.rules;
  }

  forget(project?: ProjectId): void {
    if (project === undefined) this.#entryByProject.clear();
    else this.#entryByProject.delete(project);
  }
}

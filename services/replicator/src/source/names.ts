import type { ProjectId } from '@sluice/domain';

/** What we own on a source: its names carry the project and something random, and we touch nothing else. */
export interface SourceNames {
  readonly slot: string;
  readonly publication: string;
}

/** @param random lower-case hex; two installations that share a source must not meet. */
export function sourceNames(project: ProjectId, random: string): SourceNames {
  return { slot: `sluice_${project}_${random}`, publication: `sluice_${project}_${random}` };
}
export function temporarySlotName(project: ProjectId, random: string): string {
  return `sluice_${project}_copy_${random}`;
}
/** True for a slot or publication that an epoch of this project may have. */
export function isOwnName(project: ProjectId, name: string): boolean {
  return new RegExp(`^sluice_${project}_[0-9a-f]{8,32}$`).test(name);
}
/** True for any slot of this project, the short-lived ones of copies included. */
export function isSlotOf(project: ProjectId, slot: string): boolean {
  return slot.startsWith(`sluice_${project}_`);
}

import type { StreamRecord } from '@sluice/bucket-store';
import type { RelationMessage } from '@sluice/pgoutput';
import type { SourceTable, StreamPlan } from '@sluice/sync-rules';
import { planOf, tablesOfPlans } from './plan-tables.ts';
import { fitRelation, untoldKeys } from './relation-fit.ts';

/** What the description of a table means for the streams that are followed. */
export type RelationVerdict =
  /** No stream reads it, or all that do can go on. */
  | { readonly kind: 'fits' }
  /** Nobody may see its rows: old images are missing, or the streams that read it were never complete. */
  | { readonly kind: 'unreadable'; readonly why: string }
  /** Streams that serve cannot read it from here on. `isVoid` says whether that still holds for the streams of that moment. */
  | { readonly kind: 'voided'; readonly table: SourceTable; readonly isVoid: () => boolean };

/** The streams of an epoch as its stream is read, those included that are being added. Does not look at the store. */
export class StreamBook {
  private streams: readonly StreamRecord[] = [];
  private plans: readonly StreamPlan[] = [];
  /** About to be added; their activation was not read yet. */
  private pending: readonly StreamPlan[] = [];
  /** Being added, since their activation was read. */
  private added: readonly StreamPlan[] = [];
  private hasOvertaken = false;

  constructor(streams: readonly StreamRecord[]) {
    this.set(streams);
  }

  /** Every table that a stream reads: what the publication must hold. */
  get tables(): SourceTable[] {
    return tablesOfPlans(this.readers);
  }
  /** A table changed again, so that the streams that nobody sees yet cannot read it, or hold other rows than it has. */
  get isOvertaken(): boolean {
    return this.hasOvertaken;
  }
  overtake(): void {
    this.hasOvertaken = true;
  }
  /** Whether any are visible; the others are being added then. */
  get isServing(): boolean {
    return this.streams.some((stream) => stream.visibleAfter !== undefined);
  }
  /** What the visible streams read; before any are visible, what all do. */
  get servedPlans(): readonly StreamPlan[] {
    return this.plans;
  }
  get addedPlans(): readonly StreamPlan[] {
    return this.added;
  }

  /** Of an epoch that serves, those that are not visible are being added: their copy was cut off, and may go on. */
  set(streams: readonly StreamRecord[]): void {
    const visible = streams.filter(({ visibleAfter }) => visibleAfter !== undefined);
    this.streams = visible.length > 0 ? visible : streams;
    this.plans = this.streams.map(planOf);
    this.pending = [];
    this.added = streams.filter((stream) => !this.streams.includes(stream)).map(planOf);
    if (visible.length > 0 && this.added.length === 0) this.hasOvertaken = false;
  }
  announce(plans: readonly StreamPlan[]): void {
    this.pending = plans;
    this.hasOvertaken = false;
  }
  activate(): void {
    this.added = this.pending;
    this.pending = [];
  }

  /** Rows of a table that only announced streams read are wanted from their activation on, which may come at any moment. */
  isUsed(message: RelationMessage): boolean {
    return fitRelation([...this.readers, ...this.pending], message).isUsed;
  }

  /** Judges how a table is described now; `previous` is how this connection described it before. */
  judge(message: RelationMessage, previous: RelationMessage | undefined): RelationVerdict {
    const wasRead = previous !== undefined && fitRelation(this.readers, previous).isUsed;
    const fit = fitRelation(this.readers, message);
    if (fit.isUsed && !tellsRows(message)) return unreadable('its replica identity does not tell rows apart');
    this.noteOvertaken(message, previous);
    if (wasRead && !fit.isUsed) return this.voided(previous, () => fitRelation(this.readers, previous).isUsed);
    if (this.isMisfit(this.readers, message)) return this.voided(message, () => this.isMisfit(this.readers, message));
    return { kind: 'fits' };
  }

  private voided(table: SourceTable, isVoid: () => boolean): RelationVerdict {
    if (!this.isServing) return unreadable('it changed while it is loaded');
    return { kind: 'voided', table, isVoid };
  }

  private noteOvertaken(message: RelationMessage, previous: RelationMessage | undefined): void {
    const fit = fitRelation(this.added, message);
    const isRenamed = previous !== undefined && fitRelation(this.added, previous).isUsed && !fit.isUsed;
    if (isRenamed || this.isMisfit(this.added, message)) this.hasOvertaken = true;
  }

  /** Whether a plan lacks columns, or the old rows of a table that it keeps no states of (L7). */
  private isMisfit(plans: readonly StreamPlan[], message: RelationMessage): boolean {
    return fitRelation(plans, message).misfits.length > 0 || untoldKeys(plans, message).length > 0;
  }

  private get readers(): StreamPlan[] {
    return [...this.plans, ...this.added];
  }
}

/** NOTHING, and DEFAULT without a primary key, name no column: then Postgres itself refuses updates and deletes. */
function tellsRows({ replicaIdentity, columns }: RelationMessage): boolean {
  return replicaIdentity === 'f' || (replicaIdentity !== 'n' && columns.some(({ key }) => key));
}

function unreadable(why: string): RelationVerdict {
  return { kind: 'unreadable', why };
}

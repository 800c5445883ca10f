import type { TabEvent, TabRequest } from '../rpc.ts';

/**
 * Raised when a message between tabs changes meaning, or what the leader does with one. Tabs of two versions of the SDK are open at
 * once whenever an app is deployed. `sluice` and `kind` of a lobby message, and the kind `leader`, never change.
 */
export const TABS_VERSION = 1;

/** In the lobby, which every tab of one database hears. Small, and never about rows. */
export type LobbyMessage = { readonly sluice: number } & (
  | { readonly kind: 'who' }
  /** The sender holds the database; `isServing` once it is open. */
  | { readonly kind: 'leader'; readonly leader: string; readonly isServing: boolean }
  /** A follower waits on its own channel for `welcome`. */
  | { readonly kind: 'join'; readonly tab: string; readonly leader: string }
  /** The tab signed out, and everything is being erased. */
  | { readonly kind: 'signed-out'; readonly tab: string }
);

/** What a follower asks, with what only its repetition needs. */
export type FollowerRequest =
  | Exclude<TabRequest, { kind: 'call' | 'live' }>
  /** No call below `oldestOpen` will be asked for again; `isRepeated` when a leader before may have done it. */
  | (Extract<TabRequest, { kind: 'call' }> & { readonly oldestOpen: number; readonly isRepeated: boolean })
  /** The hash of the result that the tab has already, and need not be told again. */
  | (Extract<TabRequest, { kind: 'live' }> & { readonly delivered: string | undefined });

/** On the channel of one follower, which nobody else hears. */
export type LeaderMessage =
  | { readonly to: 'follower'; readonly leader: string; readonly kind: 'welcome' | 'pong' }
  | { readonly to: 'follower'; readonly leader: string; readonly kind: 'event'; readonly event: TabEvent };
export type FollowerMessage =
  | { readonly to: 'leader'; readonly leader: string; readonly kind: 'ping' | 'leave' }
  | { readonly to: 'leader'; readonly leader: string; readonly kind: 'request'; readonly request: FollowerRequest };

/** Anything of the origin may post to the lobby: undefined for what is no message of any version. */
export function parseLobbyMessage(data: unknown): { readonly sluice: number; readonly kind: string } | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { sluice, kind } = data as { readonly sluice?: unknown; readonly kind?: unknown };
  return typeof sluice === 'number' && typeof kind === 'string' ? { ...data, sluice, kind } : undefined;
}
/** The sender is of this version, so the message is as it is declared. */
export function isOfThisVersion(message: { readonly sluice: number }): message is LobbyMessage {
  return message.sluice === TABS_VERSION;
}

export const lobbyName = (database: string): string => `sluice:${database}`;
export const followerChannelName = (database: string, tab: string): string => `sluice:${database}:tab:${tab}`;
export const leaderLockName = (database: string): string => `sluice:${database}`;
/** Held by a tab while it lives. */
export const tabLockName = (database: string, tab: string): string => `sluice:${database}:tab:${tab}`;

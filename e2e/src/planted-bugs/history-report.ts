/** What a process that runs histories says, a line of JSON each. */
export type HistoryReport =
  | { readonly kind: 'history'; readonly seed: number; readonly ms: number }
  | { readonly kind: 'found'; readonly seed: number; readonly text: string; readonly isPlanted: boolean }
  | { readonly kind: 'broken'; readonly text: string }
  /** Failed after the history that it belonged to had ended. */
  | { readonly kind: 'aside'; readonly text: string };

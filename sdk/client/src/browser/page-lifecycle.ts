/**
 * Tells when the browser is about to stop this page's scripts while it keeps the page (a frozen tab, or one in the back-forward
 * cache), and when they run again. Nothing is told where there is no page. The returned function ends it.
 */
export function onFreeze(listener: (isFrozen: boolean) => void): () => void {
  if (typeof document === 'undefined') return () => undefined;
  const listening = new AbortController();
  const { signal } = listening;
  let isFrozen = false;
  const set = (value: boolean): void => {
    if (value !== isFrozen) listener(value);
    isFrozen = value;
  };
  document.addEventListener('freeze', () => set(true), { signal });
  document.addEventListener('resume', () => set(false), { signal });
  addEventListener('pagehide', ({ persisted }) => persisted && set(true), { signal });
  addEventListener('pageshow', ({ persisted }) => persisted && set(false), { signal });
  return () => listening.abort();
}

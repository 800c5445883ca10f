'use client';

import { Notice } from '../ui/notice.tsx';

/** What no view foresaw. The digest finds the error in the console's own log. */
export default function Failed({
  error,
  reset,
}: {
  readonly error: Error & { digest?: string };
  readonly reset: () => void;
}) {
  return (
    <Notice title="This page failed" tone="bad">
      <p>Look up {error.digest ?? 'the error'} in the log of the console.</p>
      <button
        type="button"
        onClick={reset}
        className="mt-4 rounded-lg bg-water-500 px-4 py-2 font-medium text-sm text-white hover:bg-water-700"
      >
        Try again
      </button>
    </Notice>
  );
}

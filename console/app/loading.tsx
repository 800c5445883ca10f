/** Shown until the control plane has answered: the shape of what is to come. */
export default function Loading() {
  return (
    <div role="status" aria-label="Loading projects">
      <div className="mb-6 h-8 w-32 animate-pulse rounded bg-water-100 dark:bg-deep-900" />
      <div className="space-y-3">
        {['first', 'second', 'third'].map((row) => (
          <div key={row} className="h-20 animate-pulse rounded-xl bg-water-100 dark:bg-deep-900" />
        ))}
      </div>
    </div>
  );
}

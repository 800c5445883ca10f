/**
 * Runs tasks that belong together: when one ends, in whatever way, the others are told to stop, and all have stopped
 * when this settles. @throws the error of the task that failed first
 */
export async function runTogether(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  let failure: { readonly error: unknown } | undefined;
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(either);
      } catch (error) {
        // What a task throws because it was told to stop says nothing.
        if (!either.aborted) failure = { error };
      } finally {
        stop.abort();
      }
    }),
  );
  if (failure) throw failure.error;
}

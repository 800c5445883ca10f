import type { ReactNode } from 'react';

/** A view that has nothing to list says why, and what to do next. */
export function Notice(props: { readonly title: string; readonly tone: 'calm' | 'bad'; readonly children: ReactNode }) {
  const edge = props.tone === 'bad' ? 'border-rose-500/50' : 'border-water-400/40';
  return (
    <section
      role={props.tone === 'bad' ? 'alert' : undefined}
      className={`rounded-xl border ${edge} bg-white px-6 py-8 dark:bg-deep-900`}
    >
      <h2 className="font-semibold">{props.title}</h2>
      <div className="mt-2 max-w-prose text-sm leading-6 opacity-80">{props.children}</div>
    </section>
  );
}

/** A command or a name, to be copied as it is. */
export function Code({ children }: { readonly children: ReactNode }) {
  return (
    <code className="rounded bg-water-100 px-1.5 py-0.5 font-mono text-[0.85em] dark:bg-deep-950">{children}</code>
  );
}

import type { Metadata } from 'next';
import type { ReactNode } from 'react';
import './globals.css';

export const metadata: Metadata = { title: 'Sluice', description: 'Projects, rules and live health' };

export default function Layout({ children }: { readonly children: ReactNode }) {
  return (
    <html lang="en">
      <body className="min-h-dvh bg-water-50 font-sans text-deep-900 antialiased dark:bg-deep-950 dark:text-water-100">
        <header className="border-water-400/25 border-b bg-white/60 backdrop-blur dark:bg-deep-900/60">
          <div className="mx-auto flex max-w-4xl items-center gap-3 px-6 py-4">
            <Mark />
            <span className="font-semibold tracking-tight">Sluice</span>
          </div>
        </header>
        <main className="mx-auto max-w-4xl px-6 py-10">{children}</main>
      </body>
    </html>
  );
}

/** A gate, half raised, and the water that it lets through. */
function Mark() {
  return (
    <svg
      viewBox="0 0 24 24"
      className="size-6 text-water-500"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      aria-hidden="true"
    >
      <path d="M4 3v18M20 3v18M4 7h16M4 12h16" strokeLinecap="round" />
      <path d="M7 17c1.7 0 1.7 1.5 3.3 1.5S12 17 13.7 17s1.7 1.5 3.3 1.5" strokeLinecap="round" />
    </svg>
  );
}

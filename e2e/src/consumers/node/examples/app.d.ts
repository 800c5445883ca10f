/** What the READMEs' examples take from the app around them. */
declare const token: string;
declare const user: { readonly id: string };
declare function render(rows: readonly unknown[]): void;

/** Messages about one subject that a page may have unhandled before newer ones replace each other. */
const UNSEEN_MAX = 8;

/**
 * Bounds what waits for a page that is slow or frozen: beyond a few messages about one subject only the newest is kept, and is
 * posted when the page has handled one. A subject is a live query, or the status.
 */
export class Outbox<Message> {
  readonly #post: (message: Message) => void;
  readonly #unseen = new Map<number, number>();
  readonly #newest = new Map<number, Message>();

  constructor(post: (message: Message) => void) {
    this.#post = post;
  }

  send(subject: number, message: Message): void {
    const unseen = this.#unseen.get(subject) ?? 0;
    if (unseen >= UNSEEN_MAX) {
      this.#newest.set(subject, message);
      return;
    }
    this.#unseen.set(subject, unseen + 1);
    this.#post(message);
  }
  seen(subject: number): void {
    const unseen = this.#unseen.get(subject);
    // One that answers a message of the leader before was not counted here.
    if (unseen === undefined) return;
    this.#unseen.set(subject, Math.max(0, unseen - 1));
    const next = this.#newest.get(subject);
    if (next === undefined) return;
    this.#newest.delete(subject);
    this.send(subject, next);
  }
  forget(subject: number): void {
    this.#unseen.delete(subject);
    this.#newest.delete(subject);
  }
}

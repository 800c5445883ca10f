/**
 * A value that must not appear in logs, errors or JSON. It prints as `***` however it is printed; only `reveal` gives it
 * out, so that a search for `reveal` finds every use.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return '***';
  }
  toJSON(): string {
    return '***';
  }
  [Symbol.toPrimitive](): string {
    return '***';
  }
  /** Node's console and assertion messages print through this. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '***';
  }
}

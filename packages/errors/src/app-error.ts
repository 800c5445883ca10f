import { type Code, definitionOf } from './catalogue.ts';
import type { CodeDefinition } from './code.ts';

/** Values for the public message's places and for machines: small, and safe for the tenant that they concern. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/**
 * An error with a stable code. `publicMessage` may be shown to the tenant; `message` and `cause` are for our logs only.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: Code;
  readonly details: ErrorDetails;

  constructor(code: Code, options: { internal?: string; details?: ErrorDetails; cause?: unknown } = {}) {
    super(
      `${code}: ${options.internal ?? definitionOf(code).what}`,
      options.cause === undefined ? {} : { cause: options.cause },
    );
    this.code = code;
    this.details = options.details ?? {};
  }

  get definition(): CodeDefinition {
    return definitionOf(this.code);
  }
  get publicMessage(): string {
    return this.definition.what;
  }
  /** The remedy with `{name}` places filled from the details; unknown places stay as they are. */
  get remedy(): string {
    return this.definition.how.replace(/\{(\w+)\}/g, (place, name: string) => {
      const value = this.details[name];
      return value === undefined ? place : String(value);
    });
  }
  /** The envelope that APIs and the gateway send. */
  toPublic(): { code: Code; message: string; remedy: string; details: ErrorDetails } {
    return { code: this.code, message: this.publicMessage, remedy: this.remedy, details: this.details };
  }
}

export function isAppError(value: unknown, code?: Code): value is AppError {
  return value instanceof AppError && (code === undefined || value.code === code);
}

/** A broken invariant ends that unit of work (L17); it is never an answer to bad input. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${String(value)}`);
}

import type { Clock } from '@sluice/domain';

export interface AdmissionLimits {
  readonly connectionsMax: number;
  /** Connections that have not been welcomed yet: what a crowd that comes back at once may cost. */
  readonly handshakesMax: number;
  readonly connectionsPerAddressMax: number;
  /** Tokens refused of one address within a minute, after which it has to wait. */
  readonly failedTokensPerMinuteMax: number;
}
export type AdmissionRefusal = {
  readonly code: 'GATEWAY_FULL' | 'TOO_MANY_FROM_ADDRESS' | 'TOO_MANY_FAILURES';
  /** What the answer says in `Retry-After`; differs from client to client, so that they do not come back together. */
  readonly retryAfterS: number;
};
/** One connection, from its upgrade to its end. */
export interface Visit {
  welcomed(): void;
  tokenRefused(): void;
  left(): void;
}

const WINDOW_MS = 60_000;
const RETRY_MIN_S = 3;
const RETRY_SPREAD_S = 12;
/** Addresses whose failures are remembered; of more, the ones longest ago are forgotten. */
const FAILING_ADDRESSES_MAX = 10_000;

/** Decides who may connect (L16): bounds for the process, and for each address what it holds and what it tried. */
export class Admission {
  private readonly limits: AdmissionLimits;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly connectionsByAddress = new Map<string, number>();
  private readonly failuresByAddress = new Map<string, { count: number; readonly sinceMs: number }>();
  private isClosed = false;
  private connections = 0;
  private handshakes = 0;

  /** @param random from 0 to 1 */
  constructor(limits: AdmissionLimits, clock: Clock, random: () => number) {
    this.limits = limits;
    this.clock = clock;
    this.random = random;
  }

  /** From here on nobody is let in. */
  close(): void {
    this.isClosed = true;
  }

  /** Undefined when the address may have one more connection. */
  refusalOf(address: string): AdmissionRefusal | undefined {
    const { connectionsMax, handshakesMax, connectionsPerAddressMax, failedTokensPerMinuteMax } = this.limits;
    const isFull = this.connections >= connectionsMax || this.handshakes >= handshakesMax;
    if (isFull || this.isClosed) return this.refusal('GATEWAY_FULL', 0);
    if ((this.connectionsByAddress.get(address) ?? 0) >= connectionsPerAddressMax)
      return this.refusal('TOO_MANY_FROM_ADDRESS', 0);
    const failures = this.failuresOf(address);
    if (!failures || failures.count < failedTokensPerMinuteMax) return undefined;
    return this.refusal('TOO_MANY_FAILURES', failures.sinceMs + WINDOW_MS - this.clock.monotonicMs());
  }

  enter(address: string): Visit {
    this.connections++;
    this.handshakes++;
    this.connectionsByAddress.set(address, (this.connectionsByAddress.get(address) ?? 0) + 1);
    let isGreeting = true;
    const greeted = (): void => {
      if (isGreeting) this.handshakes--;
      isGreeting = false;
    };
    return {
      welcomed: greeted,
      tokenRefused: () => this.countFailure(address),
      left: () => {
        greeted();
        this.leave(address);
      },
    };
  }

  private leave(address: string): void {
    this.connections--;
    const left = (this.connectionsByAddress.get(address) ?? 1) - 1;
    if (left > 0) this.connectionsByAddress.set(address, left);
    else this.connectionsByAddress.delete(address);
  }

  private countFailure(address: string): void {
    const failures = this.failuresOf(address) ?? { count: 0, sinceMs: this.clock.monotonicMs() };
    failures.count++;
    this.failuresByAddress.set(address, failures);
    const [oldest] = this.failuresByAddress.keys();
    if (this.failuresByAddress.size > FAILING_ADDRESSES_MAX && oldest !== undefined)
      this.failuresByAddress.delete(oldest);
  }
  private failuresOf(address: string): { count: number; readonly sinceMs: number } | undefined {
    const failures = this.failuresByAddress.get(address);
    if (!failures || this.clock.monotonicMs() - failures.sinceMs < WINDOW_MS) return failures;
    this.failuresByAddress.delete(address);
    return undefined;
  }

  private refusal(code: AdmissionRefusal['code'], waitMs: number): AdmissionRefusal {
    const retryAfterS = Math.ceil(waitMs / 1000) + RETRY_MIN_S + Math.floor(this.random() * RETRY_SPREAD_S);
    return { code, retryAfterS };
  }
}

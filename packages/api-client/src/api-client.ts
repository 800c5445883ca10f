import { type Operations, operations } from './generated/operations.ts';

type Name = keyof Operations;

/** One function per operation of the API: path and query parameters by name, beside the `body`. */
export type ApiClient = {
  readonly [Each in Name]: (
    input: Operations[Each]['input'],
    options?: { readonly signal?: AbortSignal },
  ) => Promise<Operations[Each]['answer']>;
};

export interface ApiClientOptions {
  /** Without a path, e.g. `http://127.0.0.1:4820`. */
  readonly baseUrl: string;
  /** The operator API token. */
  readonly token: string;
  /** For tests and for runtimes with their own; the global one unless given. */
  readonly fetch?: typeof fetch;
}

/** How long one request may take altogether, milliseconds. */
const REQUEST_TIMEOUT_MS = 15_000;

/** The API refused or failed: what it said. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  /** Stable; docs/errors.md explains each. */
  readonly code: string;
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly requestId: string;

  constructor(status: number, problem: ProblemLike) {
    super(problem.message);
    this.status = status;
    this.code = problem.code;
    this.remedy = problem.remedy;
    this.details = problem.details;
    this.requestId = problem.requestId;
  }
}

/** The API did not answer, or something else answered in its place. */
export class ApiUnreachableError extends Error {
  override readonly name = 'ApiUnreachableError';
}

/** A client that sends one request per call and repeats none: the caller knows what may be repeated. */
export function createApiClient(options: ApiClientOptions): ApiClient {
  const call = async (name: Name, input: Input, signal: AbortSignal | undefined): Promise<unknown> => {
    const { method, hasBody } = operations[name];
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const request: RequestInit = {
      method,
      headers: {
        authorization: `Bearer ${options.token}`,
        ...(hasBody ? { 'content-type': 'application/json' } : {}),
      },
      redirect: 'error',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      ...(hasBody ? { body: JSON.stringify(input.body) } : {}),
    };
    return await send(options.fetch ?? fetch, new URL(urlOf(name, input), options.baseUrl), request);
  };
  const methods = (Object.keys(operations) as Name[]).map((name) => [
    name,
    (input: Input, given?: { signal?: AbortSignal }) => call(name, input, given?.signal),
  ]);
  // Each entry calls the operation of its own name, whose types the document gives.
  return Object.fromEntries(methods) as ApiClient;
}

/** Parameters are texts and numbers; the body is whatever the document says. */
type Input = Readonly<Record<string, string | number | undefined>> & { readonly body?: never };
interface ProblemLike {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly requestId: string;
}

function urlOf(name: Name, input: Input): string {
  const { path, query } = operations[name];
  const filled = path.replace(/\{(\w+)\}/g, (_, parameter: string) => encodeURIComponent(String(input[parameter])));
  const given = new URLSearchParams();
  for (const parameter of query) {
    const value = input[parameter];
    if (value !== undefined) given.set(parameter, String(value));
  }
  return given.size > 0 ? `${filled}?${given.toString()}` : filled;
}

async function send(fetcher: typeof fetch, url: URL, request: RequestInit): Promise<unknown> {
  const { status, body } = await exchange(fetcher, url, request);
  if (status >= 200 && status < 300) return body;
  if (isProblem(body)) throw new ApiError(status, body);
  throw new ApiUnreachableError(`something that is not the control plane answered with status ${status}`);
}

async function exchange(
  fetcher: typeof fetch,
  url: URL,
  request: RequestInit,
): Promise<{ status: number; body: unknown }> {
  try {
    const response = await fetcher(url, request);
    return { status: response.status, body: await response.json() };
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'AbortError') throw cause;
    throw new ApiUnreachableError('the control plane does not answer', { cause });
  }
}

function isProblem(body: unknown): body is ProblemLike {
  return typeof body === 'object' && body !== null && 'code' in body && 'remedy' in body && 'requestId' in body;
}

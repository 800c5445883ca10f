/** The routes of the control plane that setting up the demo needs, called as any team's script would call them. */
export interface ManagementApi {
  call(method: 'GET' | 'POST' | 'PUT', path: string, body?: unknown): Promise<Record<string, unknown>>;
}

/** An answer that is not a success carries the control plane's own code and remedy. */
export function createManagementApi(url: string, token: string): ManagementApi {
  return {
    async call(method, path, body) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer = (await response.json()) as Record<string, unknown>; // Every answer of the control plane is an object.
      if (!response.ok)
        throw new Error(`${method} ${path}: ${String(answer.code)} ${String(answer.message)} ${String(answer.remedy)}`);
      return answer;
    },
  };
}

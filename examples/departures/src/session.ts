/** What the demo's own backend answers: in a real app this is the app's login. */
export interface Session {
  readonly token: string;
  readonly gatewayUrl: string;
  readonly project: string;
}
export interface User {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(path, init);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return (await response.json()) as T; // The demo's own backend; its answers have these shapes.
}

export const readUsers = (): Promise<User[]> => ask('api/users');
export const openSession = (user: string): Promise<Session> => ask(`api/session?user=${encodeURIComponent(user)}`);
export const readSimulator = (): Promise<{ running: boolean }> => ask('api/simulator');
export const setSimulator = (running: boolean): Promise<{ running: boolean }> =>
  ask('api/simulator', {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ running }),
  });

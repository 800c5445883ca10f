import { describe, expect, it } from 'vitest';
import { startHealthServer } from './health-server.ts';
import { createMetrics } from './metrics.ts';

async function get(port: number, path: string, method = 'GET'): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  return { status: response.status, body: await response.text() };
}

describe('startHealthServer', () => {
  it('is alive while it is not ready, and says which part is not and why', async () => {
    let reason: string | undefined = 'connecting';
    await using server = await startHealthServer({ port: 0, checks: { store: () => reason, queue: () => undefined } });
    expect(await get(server.port, '/livez')).toEqual({ status: 200, body: 'ok\n' });
    expect(await get(server.port, '/readyz')).toEqual({
      status: 503,
      body: '{"ready":false,"notReady":{"store":"connecting"}}\n',
    });
    reason = undefined;
    expect((await get(server.port, '/readyz')).status).toBe(200);
  });

  it('tells nothing of what a failing check threw', async () => {
    const broken = (): never => {
      throw new Error('postgres://u:hunter2@h');
    };
    await using server = await startHealthServer({ port: 0, checks: { store: broken } });
    const { status, body } = await get(server.port, '/readyz');
    expect(status).toBe(503);
    expect(body).not.toContain('hunter2');
  });

  it('serves metrics, and nothing else', async () => {
    const metrics = createMetrics({ service: 'test' });
    await using server = await startHealthServer({ port: 0, checks: {}, metrics });
    metrics.gauge({ name: 'sluice_up', help: 'Up' }).set(1);
    expect((await get(server.port, '/metrics')).body).toContain('sluice_up{service="test"} 1');
    expect((await get(server.port, '/')).status).toBe(404);
    expect((await get(server.port, '/livez', 'POST')).status).toBe(405);
  });

  it('gives its port back when it ends', async () => {
    const server = await startHealthServer({ port: 0, checks: {} });
    await get(server.port, '/livez');
    await server[Symbol.asyncDispose]();
    await expect(get(server.port, '/livez')).rejects.toThrow();
    await using again = await startHealthServer({ port: server.port, checks: {} });
    expect(again.port).toBe(server.port);
  });
});

import { describe, expect, it } from 'vitest';
import { createMetrics } from './metrics.ts';

describe('createMetrics', () => {
  it('gives Prometheus what was counted', async () => {
    const metrics = createMetrics({ service: 'test' });
    const counter = metrics.counter({ name: 'sluice_frames_total', help: 'Frames', labels: ['state'] });
    counter.inc({ state: 'applied' }, 3);
    expect(await metrics.text()).toContain('sluice_frames_total{state="applied",service="test"} 3');
  });

  it('keeps processes in one test apart', async () => {
    const [one, other] = [createMetrics({ service: 'a' }), createMetrics({ service: 'b' })];
    one.gauge({ name: 'sluice_lag_bytes', help: 'Lag' }).set(1);
    expect(await other.text()).not.toContain('sluice_lag_bytes');
  });

  it('L16: refuses a label that would make a series per tenant, and a name outside the convention', () => {
    const metrics = createMetrics({ service: 'test' });
    const labelled = (label: string) => () => metrics.gauge({ name: 'sluice_x', help: '', labels: [label] });
    for (const label of ['projectId', 'project_id', 'bucket', 'client_id'])
      expect(labelled(label)).toThrow(/per tenant/);
    expect(() => metrics.counter({ name: 'sluice_frames', help: '' })).toThrow(/does not match/);
    expect(() => metrics.gauge({ name: 'lag', help: '' })).toThrow(/does not match/);
  });
});

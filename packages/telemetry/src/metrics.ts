import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricOptions<Label extends string> {
  /** `sluice_<room>_<what>_<unit>`, in snake case; counters end in `_total`. */
  readonly name: string;
  readonly help: string;
  /** Constants of ours such as a state or a code. Ids of tenants go to the log: each would be a time series of its own. */
  readonly labels?: readonly Label[];
}

/** The metrics of one process. Making the same name twice throws: declare each once, in the service's `events.ts`. */
export interface Metrics {
  counter<Label extends string = never>(options: MetricOptions<Label>): Counter<Label>;
  gauge<Label extends string = never>(options: MetricOptions<Label>): Gauge<Label>;
  histogram<Label extends string = never>(
    options: MetricOptions<Label> & { readonly buckets: readonly number[] },
  ): Histogram<Label>;
  /** The text that Prometheus scrapes. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Seconds, for latencies from one millisecond to half a minute. */
export const latencyBuckets: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

const tenantLabels = /^(tenant|organization|project|client|user|bucket|stream|slot)(_?id)?$/i;

/** `processMetrics` adds memory, event loop and garbage collection of this process. */
export function createMetrics(options: { readonly service: string; readonly processMetrics?: boolean }): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service: options.service });
  if (options.processMetrics) collectDefaultMetrics({ register: registry });
  const checked = <Label extends string>({ name, help, labels = [] }: MetricOptions<Label>, pattern: RegExp) => {
    if (!pattern.test(name)) throw new Error(`metric name ${name} does not match ${pattern}`);
    const tenantLabel = labels.find((label) => tenantLabels.test(label));
    if (tenantLabel) throw new Error(`metric ${name}: label ${tenantLabel} would make a series per tenant`);
    return { name, help, labelNames: [...labels], registers: [registry] };
  };
  return {
    counter: (metric) => new Counter(checked(metric, /^sluice_[a-z0-9_]+_total$/)),
    gauge: (metric) => new Gauge(checked(metric, /^sluice_[a-z0-9_]+$/)),
    histogram: (metric) => new Histogram({ ...checked(metric, /^sluice_[a-z0-9_]+$/), buckets: [...metric.buckets] }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

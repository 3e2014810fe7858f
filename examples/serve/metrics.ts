import type { PoolStats } from 'evenkeel/pool';

/** What a pool has measured, in Prometheus' text format. */
export function metricsOf({ queued, running, requests, batches, latency, workers }: PoolStats): string {
  const lines: string[] = [];
  const add = (name: string, type: string, values: readonly (readonly [labels: string, value: number])[]) => {
    lines.push(`# TYPE ${name} ${type}`, ...values.map(([labels, value]) => `${name}${labels} ${value}`));
  };
  add('evenkeel_pool_pending_requests', 'gauge', [['', queued]]);
  add('evenkeel_pool_running_requests', 'gauge', [['', running]]);
  add(
    'evenkeel_pool_requests_total',
    'counter',
    Object.entries(requests).map(([outcome, count]) => [`{outcome="${outcome}"}`, count]),
  );
  add('evenkeel_pool_batches_total', 'counter', [['', batches.count]]);
  add(
    'evenkeel_pool_request_duration_seconds',
    'gauge',
    [0.5, 0.95, 0.99].map((share, i) => [`{quantile="${share}"}`, [latency.p50, latency.p95, latency.p99][i] / 1000]),
  );
  add(
    'evenkeel_pool_worker_restarts_total',
    'counter',
    workers.map(({ id, restarts }) => [`{worker="${id}"}`, restarts]),
  );
  return `${lines.join('\n')}\n`;
}

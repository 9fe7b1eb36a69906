/** The metrics registry of a process, with what every process has: memory, CPU and the event loop's delay. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';

const EVENT_LOOP_RESOLUTION_MS = 10;

/** Makes a registry. Every metric carries the process's role. */
export function createRegistry(role: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  collectDefaultMetrics({ register: registry });
  addEventLoopDelay(registry);
  return registry;
}

/**
 * Delay since the last scrape: a stall of one second must show in the very next one, not vanish in a mean.
 */
function addEventLoopDelay(registry: Registry): void {
  const histogram = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
  histogram.enable();
  const gauge = new Gauge({
    name: 'tidemark_event_loop_delay_seconds',
    help: 'How late the event loop was since the last scrape, by quantile (1 is the maximum).',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      const lateness = (nanoseconds: number): number =>
        Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - EVENT_LOOP_RESOLUTION_MS / 1_000) : 0;
      gauge.set({ quantile: '0.5' }, lateness(histogram.percentile(50)));
      gauge.set({ quantile: '0.99' }, lateness(histogram.percentile(99)));
      gauge.set({ quantile: '1' }, lateness(histogram.max));
      histogram.reset();
    },
  });
}

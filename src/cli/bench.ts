// evenkeel bench FILE

import { close, setThreads } from '../threads/set-threads.ts';
import { type Report, UsageError, type Values } from './command.ts';
import { inputsOf, openNetwork, runOn } from './network.ts';

/** Runs are measured for so long, in milliseconds. */
const TIME = 2000;
const FEWEST = 5;

/** How long a network takes: median, spread, and runs per second. */
export async function bench([path]: string[], values: Values): Promise<Report> {
  const given = values.threads === undefined ? 1 : values.threads === 'auto' ? 'auto' : Number(values.threads);
  if (given !== 'auto' && !(Number.isInteger(given) && given >= 1)) {
    throw new UsageError(`--threads takes a whole number of 1 or more, or auto, not '${values.threads}'`);
  }
  const threads = given === 1 ? 1 : setThreads(given);
  try {
    const { run, report, loadMs, compileMs } = await openNetwork(path);
    const assumed = [...(report?.assumed ?? [])];
    const inputs = await inputsOf(run, values, assumed);
    const once = () => runOn(run, inputs);
    for (let i = 0; i < 3; i++) once();
    const times: number[] = [];
    for (const end = performance.now() + TIME; performance.now() < end || times.length < FEWEST; ) {
      const start = performance.now();
      once();
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
    const [median, low, high] = [at(0.5), at(0.1), at(0.9)];
    const perSecond = 1000 / median;
    const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
    const multiplyAdds = run.plan(shapes).reduce((sum, step) => sum + step.multiplyAdds, 0);
    const shown = Object.entries(shapes).map(([name, shape]) => `${name} [${shape.join(', ')}]`);
    return {
      lines: [
        `${shown.join(', ')}, ${threads} thread${threads === 1 ? '' : 's'}, ${times.length} runs`,
        `median ${median.toFixed(3)} ms, 80 % from ${low.toFixed(3)} to ${high.toFixed(3)} ms; ${perSecond.toLocaleString('en', { maximumFractionDigits: 1 })} per second`,
        `${multiplyAdds.toLocaleString('en')} multiply-adds, ${(multiplyAdds / median / 1e6).toFixed(2)}·10^9 per second`,
        `loaded in ${loadMs.toFixed(0)} ms, compiled in ${compileMs.toFixed(0)} ms`,
        ...assumed.map((what) => `assumed: ${what}`),
      ],
      data: {
        file: path,
        inputs: shapes,
        threads,
        runs: times.length,
        median,
        low,
        high,
        perSecond: 1000 / median,
        multiplyAdds,
        loadMs,
        compileMs,
        assumed,
      },
    };
  } finally {
    if (threads > 1) await close();
  }
}

// What is measured, as it is kept and shown.

import { median } from './statistics.ts';
import type { Timing } from './timing.ts';

export interface About {
  machine: string;
  node: string;
  backend: string;
  threads: number;
  date: string;
  /** The commit that was measured; where sources differ from it, `+` behind it. */
  commit?: string;
  /** Version in package.json. */
  version?: string;
  /** Sizes of the caches of one core, as the system names them; empty where it says nothing. */
  caches?: string[];
  /** Bytes of memory. */
  memory?: number;
  system?: string;
  v8?: string;
  /** Node's flags, and NODE_OPTIONS. */
  flags?: string[];
  /** The bench's own options. */
  options?: Record<string, string | number | boolean>;
  /** Processes, one after the other, in each of which all cases ran. */
  processes?: number;
  /** Average load of one minute before and after: what else the machine did. Empty on Windows. */
  load?: number[];
  /** Versions of what was measured beside. */
  peers?: Record<string, string>;
}

/** What is timed of a case, in turns; `before` is ours of an earlier run's program. */
export type Timed = 'before' | 'ours' | 'plain' | 'copy' | 'batchNorm' | 'layers' | 'alone' | 'own';

/** One case of `npm run bench`. */
export interface Row {
  op: string;
  layout: string;
  shape: string;
  bytes: number;
  flops?: number;
  /** Times of everything that took turns. */
  times: Partial<Record<Timed, Timing>> & { ours: Timing; plain: Timing };
  /** Flops a second of multiply-adds in registers. */
  peak?: number;
  /** Microseconds. */
  median: number;
  /** Distance of the quartiles over the median. */
  spread: number;
  /** True where the interval of the median of ours, copy or plain is too wide to say much. */
  noisy: boolean;
  gigabytesPerSecond: number;
  /** Time of memory.copy of the same bytes over our time: 1 is the speed of memory. */
  ofCopy?: number;
  /** Flops a second over those of multiply-adds in registers. */
  ofPeak?: number;
  /** Time of the plain loops over our time. */
  overPlain: number;
  /** Time over that of batch norm on the same values. */
  overBatchNorm?: number;
  /** Time of the network layer by layer over the time compiled. */
  overLayers?: number;
  /** Time on one thread over the time on several. */
  overOneThread?: number;
  /** Time of a user's own function over our time. */
  overOwn?: number;
}

/** Half of an interval over its median, from which on a figure is marked. */
export const WORTHLESS = 0.1;

/** Half of the interval of the median, over the median. */
export function uncertainty({ low, high, median }: Timing): number {
  return (high - low) / 2 / median;
}

/** A row of what was timed. Ratios are medians of the ratios within rounds. */
export function rowOf(
  { op, layout, shape }: Pick<Row, 'op' | 'layout' | 'shape'>,
  { bytes, flops, peak, times }: Pick<Row, 'bytes' | 'flops' | 'peak' | 'times'>,
): Row {
  const { ours, plain, copy, batchNorm, layers, alone, own } = times;
  return {
    ...{ op, layout, shape, bytes },
    ...(flops && { flops }),
    ...(peak && { peak }),
    times,
    median: ours.median,
    spread: ours.spread,
    noisy: [ours, plain, copy].some((timing) => timing && uncertainty(timing) > WORTHLESS),
    gigabytesPerSecond: bytes / ours.median / 1000,
    ...(copy && { ofCopy: ratio(copy, ours) }),
    ...(flops && peak && { ofPeak: flops / (ours.median / 1e6) / peak }),
    overPlain: ratio(plain, ours),
    ...(batchNorm && { overBatchNorm: ratio(ours, batchNorm) }),
    ...(layers && { overLayers: ratio(layers, ours) }),
    ...(alone && { overOneThread: ratio(alone, ours) }),
    ...(own && { overOwn: ratio(own, ours) }),
  };
}

/** How many times as long a takes: the median over rounds, which both have; slow work has fewer. */
function ratio(a: Timing, b: Timing): number {
  return median(a.rounds.flatMap((rounds, p) => ratios(rounds, b.rounds[p])));
}

function ratios(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: Math.min(a.length, b.length) }, (_, i) => a[i] / b[i]);
}

/** One case of `npm run bench:peers`: microseconds of each. */
export interface PeerRow {
  op: string;
  layout: string;
  shape: string;
  times: Record<string, number>;
}

/** A case's name, as it is shown and filtered by. */
export function nameOf({ op, layout, shape }: Pick<Row, 'op' | 'layout' | 'shape'>): string {
  return [op, layout, shape].filter(Boolean).join(' | ');
}

export interface Results {
  own?: { about: About; rows: Row[] };
  peers?: { about: About; rows: PeerRow[] };
}

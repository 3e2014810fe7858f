// What is measured, as it is kept and shown.

export interface About {
  machine: string;
  node: string;
  backend: string;
  threads: number;
  date: string;
  /** Versions of what was measured beside. */
  peers?: Record<string, string>;
}

/** One case of `npm run bench`. */
export interface Row {
  op: string;
  layout: string;
  shape: string;
  bytes: number;
  /** Microseconds. */
  median: number;
  /** Distance of the quartiles over the median. */
  spread: number;
  gigabytesPerSecond: number;
  /** Time of memory.copy of the same bytes over our time: 1 is the speed of memory. */
  ofCopy?: number;
  /** Flops a second over those of multiply-adds in registers. */
  ofPeak?: number;
  /** Time of the plain loops over our time. */
  overPlain: number;
  /** Time over that of batch norm on the same values. */
  overBatchNorm?: number;
  /** Time on one thread over the time on several. */
  overOneThread?: number;
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

// A run as lines on a terminal, and as comma-separated values.

import { type About, nameOf, type Row, uncertainty, WORTHLESS } from './figures.ts';

const number = (value: number | undefined, digits: number, width: number) =>
  (value === undefined ? '' : value.toFixed(digits)).padStart(width);

const percent = (share: number) => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)}%`;

export function head({ machine, caches, node, backend, date, threads, commit, processes, load }: About): string {
  return [
    machine,
    caches?.join(', '),
    `Node ${node}`,
    `backend ${backend}`,
    date,
    `${threads} thread(s)`,
    processes && `${processes} process(es)`,
    commit && `commit ${commit.slice(0, 8)}${commit.endsWith('+') ? ' with changes' : ''}`,
    load?.length && `load ${load.map((value) => value.toFixed(1)).join(' → ')}`,
  ]
    .filter(Boolean)
    .join('; ');
}

export const columns = (threads: number, own: boolean) =>
  `${'case'.padEnd(66)}        µs   95 % ±    GB/s  of copy  of peak  × plain  over BN${threads > 1 ? '  × alone' : ''}${own ? '  × yours' : ''}`;

export function line(row: Row): string {
  const { median, gigabytesPerSecond, ofCopy, ofPeak, overPlain, overBatchNorm, overOneThread, overOwn } = row;
  return (
    nameOf(row).padEnd(66) +
    number(median, median < 100 ? 2 : 0, 10) +
    percent(uncertainty(row.times.ours)).padStart(9) +
    number(gigabytesPerSecond, 1, 8) +
    number(ofCopy, 2, 9) +
    number(ofPeak, 2, 9) +
    number(overPlain, 1, 9) +
    number(overBatchNorm, 2, 9) +
    (overOneThread === undefined ? '' : number(overOneThread, 2, 9)) +
    (overOwn === undefined ? '' : number(overOwn, 2, 9)) +
    (row.noisy ? '  !' : '')
  );
}

/** What stands below the table: what marks mean, and what to do about them. */
export function notes(rows: readonly Row[], { load, machine }: About): string[] {
  const layers = rows.filter(({ overLayers }) => overLayers !== undefined);
  const lines = layers.map((row) => `${nameOf(row)}: × ${row.overLayers!.toFixed(2)} of the network layer by layer`);
  const marked = rows.filter(({ noisy }) => noisy).length;
  if (marked === 0) return lines;
  const cores = Number(/(\d+) cores/.exec(machine)?.[1]);
  const isBusy = load?.some((value) => value > 1.5) ?? false;
  return [
    ...lines,
    `! ${marked} of ${rows.length} cases: the 95 % interval of the median of ours, plain or copy is wider than ± ${100 * WORTHLESS} %.`,
    '  Such a figure says little, and neither do its ratios.',
    isBusy
      ? `  The load was ${load!.map((value) => value.toFixed(1)).join(' → ')} on ${cores} cores: other processes are computing. End them, and measure again.`
      : '  Other processes or tenants, or a changing clock, are likely: end what else runs, and fix the frequency',
    isBusy
      ? '  A longer --time and more --processes help too.'
      : '  (Linux: cpupower frequency-set --governor performance). A longer --time and more --processes help too.',
  ];
}

const CSV: readonly (readonly [string, (row: Row) => string | number | boolean | undefined])[] = [
  ['op', ({ op }) => op],
  ['layout', ({ layout }) => layout],
  ['shape', ({ shape }) => shape],
  ['bytes', ({ bytes }) => bytes],
  ...(['ours', 'plain', 'copy'] as const).flatMap(
    (who) =>
      [
        [`${who}_us`, ({ times }) => times[who]?.median],
        [`${who}_low_us`, ({ times }) => times[who]?.low],
        [`${who}_high_us`, ({ times }) => times[who]?.high],
        [`${who}_samples`, ({ times }) => times[who]?.samples],
      ] as [string, (row: Row) => number | undefined][],
  ),
  ['gb_per_s', ({ gigabytesPerSecond }) => gigabytesPerSecond],
  ['of_copy', ({ ofCopy }) => ofCopy],
  ['of_peak', ({ ofPeak }) => ofPeak],
  ['over_plain', ({ overPlain }) => overPlain],
  ['over_batch_norm', ({ overBatchNorm }) => overBatchNorm],
  ['over_layers', ({ overLayers }) => overLayers],
  ['over_one_thread', ({ overOneThread }) => overOneThread],
  ['over_own', ({ overOwn }) => overOwn],
  ['noisy', ({ noisy }) => noisy],
];

/** RFC 4180: a line of names, then a line for each case; figures with five digits. */
export function csv(rows: readonly Row[]): string {
  const field = (value: string | number | boolean | undefined) => {
    if (typeof value === 'number') return Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(5))}`;
    const text = `${value ?? ''}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [CSV.map(([name]) => name), ...rows.map((row) => CSV.map(([, of]) => of(row)))];
  return lines.map((line) => `${line.map(field).join(',')}\n`).join('');
}

// Charts of the page. The SVG fills a box of any shape and holds lines and bars alone; numbers and
// words stand around it as HTML, so that their size is that of the page's text.

import type { Curve } from '../experiment.ts';
import { say as english, type Text, t, type Value } from '../words.ts';
import { shortly } from './inputs.ts';

/** A text in the language of the page. */
export type Say = (text: Value) => string;

export const markup = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);

/** A curve, and whether it is of the run before. */
export type Line = Curve<string> & { readonly isBefore?: boolean };
export type Mark = readonly [at: number, label: string];

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Line[];
  readonly xRange?: readonly [number, number];
  readonly yRange?: readonly [number, number];
  /** Round values if left out. */
  readonly xTicks?: readonly Mark[];
  readonly yTicks?: readonly Mark[];
  /** Bars from 0, instead of lines. */
  readonly isBars?: boolean;
  /** Without a legend, where one stands beside it already. */
  readonly isBare?: boolean;
}

type Range = readonly [low: number, high: number];

/** Where a value stands in percent of a range; what lies outside stands at the edge. */
const placed = (value: number, [low, high]: Range): number =>
  Math.min(100, Math.max(0, (100 * (value - low)) / (high - low || 1)));
const digits = (value: number) => String(Number(value.toFixed(2)));

/** Values that are numbers, with their places. */
const finite = ({ x, y }: Pick<Line, 'x' | 'y'>) =>
  x.map((at, i) => [at, y[i]] as const).filter(([at, value]) => Number.isFinite(at) && Number.isFinite(value));

function rangesOf({ series, xRange, yRange, isBars, xTicks }: Chart): { x: Range; y: Range } {
  const points = series.flatMap(finite);
  const xs = points.map(([x]) => x);
  const edges = series.flatMap(({ band }) => (band ? [...band.low, ...band.high] : [])).filter(Number.isFinite);
  const ys = [...points.map(([, y]) => y), ...(isBars ? [] : edges)];
  const all = xs.length ? xs : series.flatMap((line) => line.x);
  const [least, most] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  // a bar is as wide as what lies between two of them
  const half = isBars ? (most - least) / (2 * Math.max(1, new Set(xs).size - 1)) : 0;
  return {
    x: xRange ?? [xTicks || isBars ? least - half : Math.min(0, least), most + half],
    y: yRange ?? (ys.length ? padded(Math.min(...ys), Math.max(...ys), isBars) : [0, 1]),
  };
}

/** A range with some room; it reaches to 0, but not beyond, where its values are near. */
function padded(low: number, high: number, isBars = false): Range {
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  if (isBars) return [Math.min(0, low), high + room];
  return [low >= 0 && low < high / 3 ? 0 : low - room, high + room];
}

/** Round values inside a range, about so many. */
export function ticksIn([low, high]: Range, many = 4): number[] {
  const rough = (high - low) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Number.isFinite(count)
    ? Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)))
    : [];
}

/** Columns that a text takes; characters of Chinese take two. */
const columns = (text: string) => [...text].reduce((sum, c) => sum + (c > '\u2e7f' ? 2 : 1), 0);

function linesOf(line: Line, x: Range, y: Range): string {
  const { tone, stroke, band, isBefore } = line;
  const at = (px: number, py: number) => `${digits(placed(px, x))},${digits(100 - placed(py, y))}`;
  const points = finite(line).map(([px, py]) => at(px, py));
  const kind = `${tone} ${stroke ?? ''}${isBefore ? ' before' : ''}`;
  if (points.length === 0) return '';
  const edge = (values: readonly number[]) =>
    line.x.flatMap((px, i) => (Number.isFinite(values[i]) ? [at(px, values[i])] : []));
  const around =
    band && !isBefore
      ? `<polygon class="band ${tone}" points="${[...edge(band.low), ...edge(band.high).reverse()].join(' ')}"/>`
      : '';
  // one point alone is a dot
  const drawn =
    points.length === 1
      ? `<path class="dot ${tone}" d="M${points[0]}h0"/>`
      : `<polyline class="line ${kind}" points="${points.join(' ')}"/>`;
  return around + drawn;
}

function barsOf(lines: readonly Line[], x: Range, y: Range): string {
  const ground = placed(0, y);
  return lines
    .map((line, k) => {
      const points = finite(line);
      const wide = 100 / Math.max(1, points.length) / lines.length;
      return points
        .map(([at, value]) => {
          const [from, to] = [ground, placed(value, y)].sort((a, b) => a - b);
          const left = placed(at, x) + wide * (k - lines.length / 2);
          return `<rect class="bar ${line.tone}" x="${digits(left + wide * 0.06)}" y="${digits(100 - to)}" width="${digits(wide * 0.88)}" height="${digits(to - from)}"/>`;
        })
        .join('');
    })
    .join('');
}

/** What a chart says to whoever does not see it. */
function described({ title, xLabel, yLabel, series }: Chart, say: Say): string {
  const sentences = series.map((line): Text => {
    const points = finite(line);
    if (points.length === 0) return t`${line.label}: no values.`;
    const [first, last] = [points[0], points.at(-1)!];
    return t`${line.label}: ${shortly(first[1])} at ${shortly(first[0])}, ${shortly(last[1])} at ${shortly(last[0])}.`;
  });
  return [say(t`${title}: ${yLabel} over ${xLabel}.`), ...sentences.map((one) => say(one))].join(' ');
}

const key = ({ tone, stroke, isBefore }: Line, isBars: boolean) =>
  `<svg class="key" viewBox="0 0 30 10" aria-hidden="true">${
    isBars && !isBefore
      ? `<rect class="bar ${tone}" x="1" y="0" width="12" height="10"/>`
      : `<line class="line ${tone} ${stroke ?? ''}${isBefore ? ' before' : ''}" x1="0" x2="30" y1="5" y2="5"/>`
  }</svg>`;

const styled = (side: string, at: number) => `style="${side}:${digits(at)}%"`;

/** Marks below a plot. Long ones stand in two rows; those at an edge end there. */
function below(marks: readonly Mark[], range: Range): string {
  const isTight = marks.reduce((sum, [, label]) => sum + columns(label) + 2, 0) > 36;
  return marks
    .map(([at, label], i) => {
      const place = placed(at, range);
      const edge = columns(label) < 4 ? '' : place < 4 ? ' first' : place > 96 ? ' last' : '';
      return `<span class="x${isTight && i % 2 ? ' low' : ''}${edge}" ${styled('left', place)}>${markup(label)}</span>`;
    })
    .join('');
}

/** Lines or bars with axes, marks and a legend. */
export function chart(options: Chart, say: Say = english): string {
  const { title, xLabel, yLabel, series, isBars = false, isBare } = options;
  const { x, y } = rangesOf(options);
  const xTicks = options.xTicks ?? ticksIn(x).map((at) => [at, shortly(at)] as const);
  const yTicks = options.yTicks ?? ticksIn(y).map((at) => [at, shortly(at)] as const);
  const gutter = Math.max(2, ...yTicks.map(([, label]) => columns(label)));
  const grid = yTicks.map(([at]) => {
    const place = digits(100 - placed(at, y));
    return `<line class="grid" x1="0" x2="100" y1="${place}" y2="${place}"/>`;
  });
  const now = series.filter(({ isBefore }) => !isBefore);
  const before = series.filter(({ isBefore }) => isBefore);
  const drawn = isBars
    ? barsOf(now, x, y) + before.map((line) => linesOf(line, x, y)).join('')
    : [...before, ...now].map((line) => linesOf(line, x, y)).join('');
  const beside = yTicks.map(
    ([at, label]) => `<span class="y" ${styled('bottom', placed(at, y))}>${markup(label)}</span>`,
  );
  const isEmpty = series.every((line) => line.x.length > 0 && finite(line).length === 0);
  const empty = isEmpty ? `<span class="none">${markup(say(t`no value that is a number`))}</span>` : '';
  const legend = series.map((line) => `<li>${key(line, isBars)}${markup(line.label)}</li>`);
  return `<figure class="chart"><figcaption>${markup(title)}</figcaption><p class="axis">${markup(yLabel)}</p>
<div class="plot" role="img" aria-label="${markup(described(options, say))}" style="--gutter:${gutter}ch"><svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">${grid.join('')}${drawn}<line class="ground" x1="0" x2="100" y1="100" y2="100"/></svg>${beside.join('')}${below(xTicks, x)}${empty}</div>
<p class="axis under">${markup(xLabel)}</p>${isBare ? '' : `<ul class="legend">${legend.join('')}</ul>`}</figure>`;
}

/** The lines or bars of a chart alone. */
export function thumbnail(options: Pick<Chart, 'series' | 'isBars' | 'yRange' | 'xTicks'>): string {
  const { x, y } = rangesOf({ title: '', xLabel: '', yLabel: '', ...options });
  const drawn = options.isBars
    ? barsOf(options.series, x, y)
    : options.series.map((line) => linesOf(line, x, y)).join('');
  return `<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">${drawn}<line class="ground" x1="0" x2="100" y1="100" y2="100"/></svg>`;
}

/** A row of dots on an axis of its own. */
export interface Strip {
  readonly label: string;
  readonly values: readonly number[];
  readonly range: Range;
  readonly tone: 'a' | 'b';
}

/** Rows of dots, one below the other: how values change from stage to stage. */
export function strips(title: string, rows: readonly Strip[], say: Say = english): string {
  const drawn = rows.map(({ label, values, range, tone }) => {
    const shown = values.filter(Number.isFinite);
    const dots = shown.map((value) => `M${digits(placed(value, range))},50h0`).join('');
    const mean = shown.reduce((a, b) => a + b, 0) / shown.length;
    const text = shown.length
      ? t`${label}: ${shown.length} values from ${shortly(Math.min(...shown))} to ${shortly(Math.max(...shown))}, mean ${shortly(mean)}.`
      : t`${label}: no values.`;
    const [low, high] = range;
    const marks = [low, (low + high) / 2, high].map((at) => [at, shortly(at)] as const);
    return `<div class="strip"><span class="stage">${markup(label)}</span><div class="plot" role="img" aria-label="${markup(say(text))}"><svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><line class="grid" x1="50" x2="50" y1="0" y2="100"/><path class="dot ${tone}" d="${dots}"/><line class="ground" x1="0" x2="100" y1="100" y2="100"/></svg>${below(marks, range)}</div></div>`;
  });
  return `<figure class="chart strips"><figcaption>${markup(title)}</figcaption>${drawn.join('')}</figure>`;
}

/** A range around 0 that holds all values, with a round end. */
export function around(values: readonly number[]): Range {
  const most = values.reduce((a, v) => (Number.isFinite(v) ? Math.max(a, Math.abs(v)) : a), 0);
  if (most === 0) return [-1, 1];
  const power = 10 ** Math.floor(Math.log10(most));
  const end = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= most * 0.999) ?? most;
  return [-end, end];
}

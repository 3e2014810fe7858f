// Line charts as SVG text: axes with units, series told apart by dash and mark as well as by
// colour.

export interface Series {
  label: string;
  x: readonly number[];
  y: readonly number[];
  /** Lower and upper edge of a band around the line. */
  band?: { low: readonly number[]; high: readonly number[] };
  /** CSS class: colour. */
  tone: 'a' | 'b' | 'c' | 'd';
  /** How the line is drawn; whole if left out. */
  stroke?: 'dashed' | 'dotted' | 'mixed';
}

export interface ChartOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  yRange?: readonly [number, number];
  /** Marks of the x axis; round values from 0 on if left out. */
  xTicks?: readonly (readonly [x: number, label: string])[];
  format?: (value: number) => string;
}

const WIDTH = 560;
const HEIGHT = 300;
const MARGIN = { left: 66, right: 14, top: 14, bottom: 44 };

export function lineChart(
  series: readonly Series[],
  { title, xLabel, yLabel, yRange, xTicks: given, format = String }: ChartOptions,
): string {
  const xs = series.flatMap((s) => s.x);
  const ys = series
    .flatMap((s) => [...s.y, ...(s.band ? [...s.band.low, ...s.band.high] : [])])
    .filter(Number.isFinite);
  const [xMin, xMax] = [given ? Math.min(...xs) : 0, Math.max(...xs)];
  const [yMin, yMax] = yRange ?? padded(Math.min(...ys), Math.max(...ys));
  const px = (x: number) => MARGIN.left + ((x - xMin) / (xMax - xMin)) * (WIDTH - MARGIN.left - MARGIN.right);
  const py = (y: number) =>
    HEIGHT - MARGIN.bottom - ((y - yMin) / (yMax - yMin)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const points = (x: readonly number[], y: readonly number[]) =>
    x.map((value, i) => `${px(value).toFixed(1)},${py(y[i]).toFixed(1)}`);

  const grid = ticks(yMin, yMax).map(
    (y) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${py(y)}" y2="${py(y)}"/><text class="tick" x="${MARGIN.left - 7}" y="${py(y) + 4}" text-anchor="end">${format(y)}</text>`,
  );
  const bottom = HEIGHT - MARGIN.bottom;
  const marks = given ?? ticks(xMin, xMax).map((x) => [x, `${x}`] as const);
  const xTicks = marks.map(
    ([x, label]) => `<text class="tick" x="${px(x)}" y="${bottom + 17}" text-anchor="middle">${label}</text>`,
  );
  const bands = series.map(({ x, band, tone }) =>
    band
      ? `<polygon class="band ${tone}" points="${[...points(x, band.low), ...points(x, band.high).reverse()].join(' ')}"/>`
      : '',
  );
  const lines = series.map(
    ({ x, y, tone, stroke = '' }) => `<polyline class="line ${tone} ${stroke}" points="${points(x, y).join(' ')}"/>`,
  );
  const legend = series
    .map(
      ({ label, tone, stroke = '' }) =>
        `<li><svg class="key" viewBox="0 0 30 10" aria-hidden="true"><line class="line ${tone} ${stroke}" x1="0" x2="30" y1="5" y2="5"/></svg>${label}</li>`,
    )
    .join('');
  return `<figure><figcaption>${title}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}. ${xLabel} against ${yLabel}.">
${grid.join('')}${xTicks.join('')}
<line class="axis" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${bottom}" y2="${bottom}"/>
<text class="label" x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${xLabel}</text>
<text class="label" transform="rotate(-90)" x="${-(MARGIN.top + bottom) / 2}" y="13" text-anchor="middle">${yLabel}</text>
${bands.join('')}${lines.join('')}
</svg><ul class="legend">${legend}</ul></figure>`;
}

function padded(low: number, high: number): [number, number] {
  const room = (high - low || 1) * 0.06;
  return [low - room, high + room];
}

/** Round values inside a range, about five of them. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

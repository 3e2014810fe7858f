// Figures and tables as HTML: in Node for the page as it arrives, and in the page for what it finds
// itself.

import { lineChart } from '../../digits/chart.ts';
import type { Figure, Result, Table } from '../experiment.ts';

export const markup = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
const short = (value: number) => (Number.isFinite(value) ? String(Number(value.toPrecision(3))) : '–');

export function rendered({ figures, tables = [] }: Result<string>): string {
  const charts = figures.map((figure) => {
    // what is not finite has no place
    const series = figure.series.map((one) => {
      const kept = one.x.map((_, i) => i).filter((i) => Number.isFinite(one.y[i]));
      const pick = (values: readonly number[]) => kept.map((i) => values[i]);
      const { band } = one;
      return {
        ...one,
        x: pick(one.x),
        y: pick(one.y),
        ...(band && { band: { low: pick(band.low), high: pick(band.high) } }),
      };
    });
    const { title, xLabel, yLabel, xTicks, yRange } = figure;
    const options = { title: markup(title), xLabel, yLabel, xTicks, yRange, format: short };
    const drawn = series.some(({ x }) => x.length > 1) ? lineChart(series, options) : '';
    return `<div>${drawn}<details><summary>As a table</summary>${figureTable(figure)}</details></div>`;
  });
  return `<div class="charts">${charts.join('')}</div>${tables.map(shown).join('')}`;
}

function figureTable({ title, xLabel, series, xTicks }: Figure<string>): string {
  const name = (value: number) => xTicks?.find(([at]) => at === value)?.[1] ?? short(value);
  const [{ x }] = series;
  return shown({
    title,
    heads: [xLabel, ...series.map(({ label }) => label)],
    rows: x.map((value, i) => [name(value), ...series.map(({ y }) => short(y[i]))]),
  });
}

function shown({ title, heads, rows }: Table<string>): string {
  const cells = (tag: string, values: readonly (string | number)[]) =>
    values.map((value) => `<${tag}>${markup(String(value))}</${tag}>`).join('');
  return `<div class="scroll"><table><caption>${markup(title)}</caption><thead><tr>${cells('th', heads)}</tr></thead><tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('')}</tbody></table></div>`;
}

// Results as HTML: in Node for the page as it arrives, and in the page for what it finds itself.

import type { Controls, Figure, Result, Table } from '../experiment.ts';
import { BOTH } from '../grid.ts';
import { judged } from '../verdict.ts';
import { say, spoken, type Text, t } from '../words.ts';
import { type Chart, chart, type Line, markup, type Say, thumbnail } from './chart.ts';
import { settingsIn, shortly } from './inputs.ts';

/** A run, with what was set. */
export interface Run {
  readonly result: Result;
  readonly controls: Partial<Controls>;
}

/** What two runs differ in, of the first. */
const own = (controls: Partial<Controls>, other: Partial<Controls>): Partial<Controls> =>
  Object.fromEntries(
    Object.entries(controls).filter(([name, value]) => other[name as keyof Controls] !== value),
  ) as Partial<Controls>;

export const isSame = (a: Partial<Controls>, b: Partial<Controls>): boolean => Object.keys(own(a, b)).length === 0;

/** The charts of a run; with those of the run before in them, where it was of other settings. */
export function chartsOf(now: Run, before: Run | undefined, say: Say): Chart[] {
  const other = before && !isSame(now.controls, before.controls) ? before : undefined;
  const named = (text: Figure['title'], run: Run, than: Run): Text =>
    t`${text} (${settingsIn(own(run.controls, than.controls))})`;
  return now.result.figures.map((figure, at) => {
    const past = other?.result.figures[at];
    const lines = figure.series.map(
      (line): Line => ({
        ...line,
        label: say(past && other ? named(line.label, now, other) : line.label),
      }),
    );
    const pastLines = past?.series.map(
      (line): Line => ({
        ...line,
        isBefore: true,
        label: say(named(line.label, other!, now)),
      }),
    );
    const marks = [...(figure.xTicks ?? []), ...(past?.xTicks ?? [])].map(([x, label]) => [x, say(label)] as const);
    const unlike = marks.filter(([x], i) => marks.findIndex(([one]) => one === x) === i);
    const titles = [figure.title, past?.title ?? figure.title].map((one) => say(one));
    return {
      title: titles[0] === titles[1] ? titles[0] : titles.join(' / '),
      xLabel: say(figure.xLabel),
      yLabel: say(figure.yLabel),
      series: [...lines, ...(pastLines ?? [])],
      xTicks: figure.xTicks && unlike,
      yRange: figure.yRange,
      isBars: figure.isBars,
    };
  });
}

/** Charts with their tables, and tables. */
export function rendered(now: Run, before: Run | undefined, say: Say): string {
  const drawn = chartsOf(now, before, say).map(
    (one) =>
      `<div>${chart(one, say)}<details><summary>${markup(say(t`As a table`))}</summary>${chartTable(one)}</details></div>`,
  );
  const { tables = [] } = now.result;
  const words = tables.map(({ title, heads, rows }) =>
    shown({
      title: say(title),
      heads: heads.map((head) => say(head)),
      rows: rows.map((row) => row.map((cell) => say(cell))),
    }),
  );
  return `${drawn.length ? `<div class="charts">${drawn.join('')}</div>` : ''}${words.join('')}`;
}

function chartTable({ title, xLabel, series, xTicks }: Chart): string {
  const all = [...new Set(series.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const name = (value: number) => xTicks?.find(([at]) => at === value)?.[1] ?? shortly(value);
  const at = ({ x, y }: Line, value: number) => (x.includes(value) ? shortly(y[x.indexOf(value)]) : '');
  return shown({
    title,
    heads: [xLabel, ...series.map(({ label }) => label)],
    rows: all.map((value) => [name(value), ...series.map((line) => at(line, value))]),
  });
}

function shown({ title, heads, rows }: Table<string>): string {
  const cells = (values: readonly (string | number)[]) =>
    values.map((value, i) => `<t${i ? 'd' : 'h scope="row"'}>${markup(String(value))}</t${i ? 'd' : 'h'}>`).join('');
  const top = heads.map((head) => (head ? `<th scope="col">${markup(head)}</th>` : '<td></td>')).join('');
  return `<div class="scroll" tabindex="0" role="group" aria-label="${markup(title)}"><table><caption>${markup(title)}</caption><thead><tr>${top}</tr></thead><tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('')}</tbody></table></div>`;
}

const KINDS = { true: 'holds', false: 'not', undefined: 'figures' } as const;

/** The verdict in a word, beside the claim that it is about. */
export const badge = (holds: boolean | undefined, say: Say): { kind: string; text: string } => ({
  kind: KINDS[`${holds}`],
  text: say(judged(holds)),
});

/** What stands on a card: the first comparison, or the first figure, or a table's numbers. */
export function picture(result: Result): string {
  const { figures, tables = [] } = spoken(result);
  const isComparison = ({ series }: Figure<string>) => series[0].label === say(BOTH[0].label);
  const figure = figures.find(isComparison) ?? figures[0];
  return thumbnail(figure ?? barsIn(tables[0]));
}

/** A table's last column of numbers as bars. */
function barsIn({ rows }: Table<string>): Pick<Chart, 'series' | 'isBars'> {
  const y = rows.map((row) => Number(row.findLast((cell) => cell !== '' && Number.isFinite(Number(cell)))));
  return { series: [{ label: '', tone: 'a', x: y.map((_, i) => i), y }], isBars: true };
}

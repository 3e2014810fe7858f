import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Figure, Result } from '../lab/experiment.ts';
import { lineChart, type Series } from './chart.ts';
import type { ConvnetSummary } from './convnet.ts';
import { SETTINGS } from './network.ts';
import { STYLE } from './style.ts';
import { type Comparison, type Summary, WHY_SATURATED } from './summary.ts';
import type { Run } from './train.ts';

/** What an experiment of the lab found. */
export type Finding = Result<string>;

/**
 * Writes the page; whoever looks meanwhile sees the old one or the new one, never half of either.
 */
export function writeReport(
  folder: string,
  runs: readonly Run[],
  summary: Summary,
  findings: readonly Finding[],
): string {
  const path = join(folder, 'index.html');
  const draft = join(folder, `.index.${process.pid}.html`);
  mkdirSync(folder, { recursive: true });
  // no line ends between a number and its percent sign
  writeFileSync(draft, page(runs, summary, findings).replace(/(\d) %/g, '$1\u00a0%'));
  renameSync(draft, path);
  return path;
}

function page(runs: readonly Run[], summary: Summary, findings: readonly Finding[]): string {
  const { best } = summary;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Batch normalization on real digits</title><style>${STYLE}.answer { max-width: 46rem; }</style></head><body>
<h1>Batch normalization on real digits</h1>
<p><strong>${summary.answer}</strong></p>
${answerChart(runs)}
<p class="soft">${summary.about}</p>
<p>The network of Ioffe &amp; Szegedy (2015, section 4.1): 784 inputs, three hidden layers of 100 units, 10 classes, mini-batches of 60, small Gaussian weights. Trained twice from the same seeds on 8,000 MNIST digits, with batch norm between each linear layer and its activation, and without. Accuracy is on the ${summary.held.toLocaleString('en')} held-out digits.</p>
${summary.comparisons.map((comparison) => section(runs, comparison)).join('\n')}
${summary.comparisons.some(({ saturation }) => saturation) ? `<p>${WHY_SATURATED}</p>` : ''}
<h2>The best net, compiled</h2>
<p>Batch norm folded into the linear layers, activations fused: ${best.steps.join('; ')}. Largest difference from evaluation mode: ${best.difference.toExponential(1)}. Test accuracy ${percent(best.accuracy)} with ${best.name}, ${Math.round(best.imagesPerSecond).toLocaleString('en')} images per second on one thread (evaluation mode: ${Math.round(best.evalImagesPerSecond).toLocaleString('en')}).</p>
<h2>A small convnet</h2>
${convnetSection(summary.convnet)}
<h2>The figures</h2>
${table(summary)}
<h2>Where batch norm breaks, and what helps</h2>
<p>Medians of the seeds; bands: all seeds. Accuracy and loss are on held-out digits.</p>
<div class="charts">${findings.map(remedy).join('\n')}</div>
</body></html>
`;
}

function convnetSection({ with: on, without: off, sentence, ...net }: ConvnetSummary): string {
  const series: Series[] = [
    { label: 'with batch norm', tone: 'a', x: on.images, y: on.accuracy },
    { label: 'without', tone: 'b', stroke: 'dashed', x: off.images, y: off.accuracy },
  ];
  const chart = lineChart(series, {
    title: 'Test accuracy of the convnet',
    ...ACCURACY,
    xLabel: 'images seen',
  });
  return `<p>${sentence}</p><div class="charts">${chart}</div><p>Compiled: ${net.steps.join('; ')}. Largest difference from evaluation mode: ${net.difference.toExponential(1)}. ${Math.round(net.imagesPerSecond).toLocaleString('en')} images per second on one thread (evaluation mode: ${Math.round(net.evalImagesPerSecond).toLocaleString('en')}).</p>`;
}

function remedy(result: Finding): string {
  const format = (value: number) => String(Number(value.toPrecision(3)));
  const charts = result.figures.map(({ series, ...options }) => lineChart(series, { ...options, format }));
  const tables = result.figures.map((figure) => figures(figure));
  return `<div>${charts.join('')}<p>${result.verdict}</p><p class="soft">${result.setup}</p><details><summary>The figures</summary>${tables.join('')}</details></div>`;
}

function figures({ series, xLabel, xTicks }: Figure<string>): string {
  const [{ x }] = series;
  const name = (value: number) => xTicks?.find(([at]) => at === value)?.[1] ?? `${value}`;
  const cell = ({ y, band }: Series, i: number) =>
    `<td>${y[i].toFixed(3)}${band && band.low[i] < band.high[i] ? ` (${band.low[i].toFixed(3)} to ${band.high[i].toFixed(3)})` : ''}</td>`;
  const rows = x.map((value, i) => `<tr><td>${name(value)}</td>${series.map((one) => cell(one, i)).join('')}</tr>`);
  const heads = [xLabel, ...series.map(({ label }) => label)].map((head) => `<th>${head}</th>`);
  return `<div class="scroll"><table><thead><tr>${heads.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

/** The learning curves of all nets in one picture, before anything else. */
function answerChart(runs: readonly Run[]): string {
  const tones = { sigmoid: ['a', 'b'], tanh: ['c', 'd'] } as const;
  const series = SETTINGS.flatMap(({ activation }) =>
    [true, false].map((batchNorm): Series => {
      const mine = runs.filter((run) => run.setting.activation === activation && run.batchNorm === batchNorm);
      const { x, y } = acrossSeeds(mine, (run) => run.accuracy);
      const label = `${activation}, ${batchNorm ? 'with batch norm' : 'without'}`;
      return { label, tone: tones[activation][batchNorm ? 0 : 1], ...(!batchNorm && { stroke: 'dashed' }), x, y };
    }),
  );
  const seeds = new Set(runs.map(({ seed }) => seed)).size;
  const medians = seeds > 1 ? ` (medians of ${seeds} seeds)` : '';
  const title = `Accuracy on held-out digits while the nets train${medians}`;
  return `<div class="answer">${lineChart(series, { title, ...ACCURACY })}</div>`;
}

const ACCURACY = {
  xLabel: 'training steps',
  yLabel: 'accuracy',
  yRange: [0, 1],
  format: (value: number) => `${Math.round(value * 100)} %`,
} as const;

function section(runs: readonly Run[], { activation, sentence, saturation }: Comparison): string {
  const of = (batchNorm: boolean) =>
    runs.filter((run) => run.setting.activation === activation && run.batchNorm === batchNorm);
  const learning: Series[] = [
    { label: 'with batch norm', tone: 'a', ...acrossSeeds(of(true), (run) => run.accuracy) },
    { label: 'without', tone: 'b', stroke: 'dashed', ...acrossSeeds(of(false), (run) => run.accuracy) },
  ];
  const saturated: Series[] = [
    { label: 'with batch norm', tone: 'a', ...acrossSeeds(of(true), (run) => run.saturatedUnits) },
    { label: 'without', tone: 'b', stroke: 'dashed', ...acrossSeeds(of(false), (run) => run.saturatedUnits) },
  ];
  // one range for both, so that they can be compared
  const inputs = [true, false].flatMap((batchNorm) => of(batchNorm)[0].percentiles.flat());
  const range: [number, number] = [Math.min(...inputs) - 0.1, Math.max(...inputs) + 0.1];
  const spread = (batchNorm: boolean): string => {
    const [run] = of(batchNorm);
    const column = (k: number) => run.percentiles.map((values) => values[k]);
    const line: Series = {
      label: 'median; band: 15th to 85th percentile',
      tone: batchNorm ? 'a' : 'b',
      ...(!batchNorm && { stroke: 'dashed' }),
      x: run.steps,
      y: column(1),
      band: { low: column(0), high: column(2) },
    };
    return lineChart([line], {
      title: `Activation input of a typical last hidden unit, ${batchNorm ? 'with batch norm' : 'without'}`,
      xLabel: 'training steps',
      yLabel: 'activation input',
      yRange: range,
    });
  };
  const most = Math.max(0.1, ...saturated.flatMap((series) => series.band?.high ?? series.y));
  return `<h2>${activation}</h2><p>${sentence}</p>${saturation ? `<p>${saturation}</p>` : ''}<div class="charts">
${lineChart(learning, { title: 'Test accuracy (median of the seeds; band: all seeds)', ...ACCURACY })}
${lineChart(saturated, { title: 'Saturated units of the last hidden layer (mean over digits)', xLabel: 'training steps', yLabel: 'units of 100', yRange: [0, most * 1.05] })}
${spread(true)}
${spread(false)}
</div>`;
}

function acrossSeeds(runs: readonly Run[], pick: (run: Run) => readonly number[]) {
  const x = runs[0].steps;
  const at = (i: number) => runs.map((run) => pick(run)[i]).sort((a, b) => a - b);
  return {
    x,
    y: x.map((_, i) => at(i)[runs.length >> 1]),
    band: { low: x.map((_, i) => at(i)[0]), high: x.map((_, i) => at(i)[runs.length - 1]) },
  };
}

function table({ comparisons }: Summary): string {
  const row = (name: string, values: readonly string[]) =>
    `<tr><td>${name}</td>${values.map((value) => `<td>${value}</td>`).join('')}</tr>`;
  const columns = comparisons.flatMap(({ activation }) => [`${activation}, batch norm`, `${activation}, without`]);
  const pairs = comparisons.flatMap((comparison) => [comparison.with, comparison.without]);
  return `<div class="scroll"><table><thead><tr><th>median of the seeds</th>${columns.map((name) => `<th>${name}</th>`).join('')}</tr></thead><tbody>
${row(
  'final test accuracy',
  pairs.map((p) => percent(p.accuracy)),
)}
${row(
  'steps to the accuracy that the net without batch norm ends with',
  pairs.map((p) => (p.stepsToTarget === undefined ? 'never' : String(p.stepsToTarget))),
)}
${row(
  'final training loss',
  pairs.map((p) => p.loss.toFixed(3)),
)}
${row(
  'saturated units of 100, at the end, mean over digits',
  pairs.map((p) => p.saturatedUnits.toFixed(2)),
)}
${row(
  'milliseconds per training step',
  pairs.map((p) => p.millisecondsPerStep.toFixed(2)),
)}
</tbody></table></div>`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

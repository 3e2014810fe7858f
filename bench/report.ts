// One page with everything inside: bars by op and shape, the machine and the method at the head, a
// table behind each chart.

import type { About, PeerRow, Results, Row } from './figures.ts';

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6875; --paper: #fbfaf7; --line: #d9d7cf; --ours: #0b6e8f; --other: #b9b4a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #a3a9af; --paper: #15191d; --line: #363c42; --ours: #5bbad5; --other: #5a5f66; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 46rem; } .soft { color: var(--soft); }
.bars { display: grid; grid-template-columns: minmax(9rem, 24rem) 1fr 4.5rem; gap: .25rem .8rem; align-items: center; font-size: .9rem; font-variant-numeric: tabular-nums; }
.track { position: relative; height: .95rem; } .bar { position: absolute; inset: 0 auto 0 0; background: var(--other); border-radius: 0 2px 2px 0; min-width: 1px; } .bar.ours { background: var(--ours); }
.mark { position: absolute; top: -.15rem; bottom: -.15rem; width: 0; border-left: 2px dashed var(--ink); opacity: .55; }
.value { text-align: right; } details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; } th, td { text-align: right; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
`;

export function page({ own, peers }: Results): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>evenkeel: how fast</title><style>${STYLE}</style></head><body>
<h1>How fast</h1>
${own ? ownSection(own.about, own.rows) : ''}
${peers ? peerSection(peers.about, peers.rows) : ''}
</body></html>
`;
}

function head({ machine, node, backend, threads, date, peers }: About): string {
  const versions = Object.entries(peers ?? {}).map(([name, version]) => `${name} ${version}`);
  const parts = [
    machine,
    `Node ${node}`,
    `${backend} build`,
    threads === 1 ? 'one thread' : `${threads} threads`,
    date,
  ];
  return `<p class="soft">${markup([...parts, ...versions].join(' · '))}</p>`;
}

function ownSection(about: About, rows: readonly Row[]): string {
  const ops = [...new Set(rows.filter((row) => row.ofCopy !== undefined).map((row) => row.op))];
  const charts = ops.map((op) => {
    const of = rows.filter((row) => row.op === op && row.ofCopy !== undefined);
    const bars = of.map((row) => ({ label: `${row.layout} ${row.shape}`, value: row.ofCopy!, ours: true }));
    return `<h3>${markup(op)}</h3>${barChart(bars, (value) => value.toFixed(2), 1)}`;
  });
  return `<h2>Against the speed of memory</h2>
${head(about)}
<p>Medians through the layer, tensors in linear memory. A bar is the time of <code>memory.copy</code> of the same bytes in the same run over ours: at the dashed line a layer costs what moving its data costs. Every result was checked against plain loops before it was timed.</p>
${charts.join('\n')}
<details><summary>All figures</summary>${ownTable(rows)}</details>`;
}

function ownTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    `${row.op} ${row.layout} ${row.shape}`,
    row.median.toFixed(2),
    `${(row.spread * 100).toFixed(0)} %`,
    row.gigabytesPerSecond.toFixed(1),
    row.ofCopy?.toFixed(2) ?? '',
    row.ofPeak?.toFixed(2) ?? '',
    row.overPlain.toFixed(1),
    row.overBatchNorm?.toFixed(2) ?? '',
  ]);
  return table(['case', 'µs', 'spread', 'GB/s', 'of copy', 'of peak', '× plain loops', 'over batch norm'], cells);
}

function peerSection(about: About, rows: readonly PeerRow[]): string {
  const charts = rows.map(({ op, layout, shape, times }) => {
    const bars = Object.entries(times).map(([name, value]) => ({ label: name, value, ours: name === 'evenkeel' }));
    return `<h3>${markup([op, layout, shape].filter(Boolean).join(' '))}</h3>${barChart(bars, microseconds)}`;
  });
  const names = [...new Set(rows.flatMap(({ times }) => Object.keys(times)))];
  const cells = rows.map(({ op, layout, shape, times }) => [
    [op, layout, shape].filter(Boolean).join(' '),
    ...names.map((name) => (times[name] === undefined ? '' : times[name].toFixed(1))),
    ...names.slice(1).map((name) => (times[name] === undefined ? '' : (times[name] / times[names[0]]).toFixed(2))),
  ]);
  return `<h2>Beside others</h2>
${head(about)}
<p>Medians in microseconds, shorter is better; everyone on one thread, on the same data, in turns within one run. Outputs were compared before anything was timed. The others' times include what a caller of theirs pays: creating the output, and copying where their interface copies.</p>
${charts.join('\n')}
<details><summary>All figures</summary>${table(['case', ...names.map((name) => `${name}, µs`), ...names.slice(1).map((name) => `× ${name}`)], cells)}</details>`;
}

interface Bar {
  label: string;
  value: number;
  ours: boolean;
}

function barChart(bars: readonly Bar[], format: (value: number) => string, mark?: number): string {
  const most = Math.max(mark ?? 0, ...bars.map(({ value }) => value));
  const line = mark === undefined ? '' : `<span class="mark" style="left:${(100 * mark) / most}%"></span>`;
  const rows = bars.map(
    ({ label, value, ours }) =>
      `<span>${markup(label)}</span><span class="track"><span class="bar${ours ? ' ours' : ''}" style="width:${((100 * value) / most).toFixed(1)}%"></span>${line}</span><span class="value">${format(value)}</span>`,
  );
  return `<div class="bars">${rows.join('')}</div>`;
}

function microseconds(value: number): string {
  return value < 1000 ? `${value.toFixed(value < 10 ? 2 : 0)} µs` : `${(value / 1000).toFixed(2)} ms`;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, values: readonly string[]) =>
    values.map((value) => `<${tag}>${markup(value)}</${tag}>`).join('');
  return `<div class="scroll"><table><thead><tr>${cells('th', heads)}</tr></thead><tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('')}</tbody></table></div>`;
}

function markup(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
}

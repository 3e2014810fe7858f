// Figures and tables as text.

import type { Figure, Table } from './experiment.ts';

const WIDTH = 64;
const HEIGHT = 12;
/** How series are told apart. */
const MARKS = ['●', '○', '+', '×'];

/** Characters that take two columns: Chinese, Japanese, Korean, and their punctuation. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/g;
const columnsOf = (text: string) => text.length + (text.match(WIDE)?.length ?? 0);
const filled = (text: string, width: number) => ' '.repeat(Math.max(0, width - columnsOf(text)));

/** A chart of characters: axes with units, a mark for each series. */
export function draw({ title, series, xLabel, yLabel, xTicks, yRange }: Figure<string>): string {
  const finite = series.flatMap(({ y }) => y).filter(Number.isFinite);
  const [low, high] = yRange ?? [Math.min(...finite), Math.max(...finite)];
  const xs = series.flatMap(({ x }) => x);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const grid = Array.from({ length: HEIGHT }, () => new Array<string>(WIDTH).fill(' '));
  const place = (value: number, from: number, to: number, cells: number) =>
    Math.round(((value - from) / (to - from || 1)) * (cells - 1));
  series.forEach(({ x, y }, s) => {
    x.forEach((at, i) => {
      if (!Number.isFinite(y[i])) return;
      const row = HEIGHT - 1 - Math.max(0, Math.min(HEIGHT - 1, place(y[i], low, high, HEIGHT)));
      grid[row][place(at, left, right, WIDTH)] = MARKS[s];
    });
  });
  const short = (value: number) => String(Number(value.toPrecision(3)));
  const margin = Math.max(short(low).length, short(high).length);
  const label = (row: number) => (row === 0 ? short(high) : row === HEIGHT - 1 ? short(low) : '').padStart(margin);
  const lines = grid.map((cells, row) => `${label(row)} │${cells.join('').trimEnd()}`);
  const ticks = new Array<string>(WIDTH + 8).fill(' ');
  for (const [at, text] of xTicks ?? [left, right].map((value) => [value, short(value)] as const)) {
    let cell = Math.max(0, place(at, left, right, WIDTH) - Math.floor(columnsOf(text) / 2));
    for (const c of text) {
      ticks[cell] = c;
      if (columnsOf(c) > 1) ticks[cell + 1] = '';
      cell += columnsOf(c);
    }
  }
  const indent = ' '.repeat(margin + 2);
  return [
    `${title} (${yLabel})`,
    ...lines,
    `${' '.repeat(margin)} └${'─'.repeat(WIDTH)}`,
    `${indent}${ticks.join('').trimEnd()}`,
    `${indent}${xLabel}`,
    ...series.map(({ label: name }, s) => `${indent}${MARKS[s]} ${name}`),
  ].join('\n');
}

export function tabulate({ title, heads, rows }: Table<string>): string {
  const cells = [heads, ...rows.map((row) => row.map(String))];
  const widths = heads.map((_, c) => Math.max(...cells.map((row) => columnsOf(row[c]))));
  const lines = cells.map((row) =>
    row
      .map((cell, c) => (c === 0 ? cell + filled(cell, widths[c]) : filled(cell, widths[c]) + cell))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}

// Figures and tables as text.

import type { Figure, Table } from './experiment.ts';

const WIDTH = 64;
const HEIGHT = 12;
/** How series are told apart. */
const MARKS = ['●', '○', '+', '×'];

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
    const from = Math.max(0, place(at, left, right, WIDTH) - Math.floor(text.length / 2));
    [...text].forEach((c, i) => {
      ticks[from + i] = c;
    });
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
  const widths = heads.map((_, c) => Math.max(...cells.map((row) => row[c].length)));
  const lines = cells.map((row) =>
    row
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}

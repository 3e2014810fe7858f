// What the page does: draws a picture, asks the server, and classifies it by itself, with either
// library.

import { type Classified, classified, imageOf } from '../pixels.ts';

type Open = (address: string) => Promise<(image: Float32Array) => Promise<ArrayLike<number>>>;

const part = <E extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as E;
const canvas = part<HTMLCanvasElement>('picture');
const context = canvas.getContext('2d', { willReadFrequently: true })!;
const model = new URL('model/model.min.js', location.href).href;

/** A picture to begin with. */
function draw(): void {
  const sky = context.createLinearGradient(0, 0, 0, canvas.height);
  sky.addColorStop(0, '#2b6cb0');
  sky.addColorStop(1, '#f6ad55');
  context.fillStyle = sky;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#22543d';
  context.beginPath();
  context.moveTo(0, 260);
  for (let x = 0; x <= canvas.width; x += 8) context.lineTo(x, 220 + 30 * Math.sin(x / 40));
  context.lineTo(canvas.width, canvas.height);
  context.lineTo(0, canvas.height);
  context.fill();
}

const pixels = () => context.getImageData(0, 0, canvas.width, canvas.height);
const shown = (classes: Classified) =>
  classes.map(({ name, probability }) => `${name} ${(100 * probability).toFixed(1)} %`).join(', ');

function row(name: string, cells: readonly string[]): void {
  const line = document.createElement('tr');
  for (const [i, text] of [name, ...cells].entries()) {
    const cell = document.createElement(i === 0 ? 'th' : 'td');
    cell.textContent = text;
    line.append(cell);
  }
  part('results').append(line);
}

async function byServer(): Promise<void> {
  const { width, height, data } = pixels();
  const start = performance.now();
  const response = await fetch(`classify?width=${width}&height=${height}`, { method: 'POST', body: data });
  const { classes, ms } = (await response.json()) as { classes: Classified; ms: number };
  const all = performance.now() - start;
  row('server, evenkeel', [shown(classes), 'runs already', `${ms.toFixed(1)} ms, ${all.toFixed(1)} ms with the way`]);
}

async function inPage(name: string, file: string): Promise<void> {
  const { width, height, data } = pixels();
  const image = imageOf(data, width, height);
  const start = performance.now();
  const { open } = (await import(file)) as { open: Open };
  const run = await open(model);
  let probabilities = await run(image);
  const first = performance.now() - start;
  const times: number[] = [];
  for (let i = 0; i < 9; i++) {
    const begin = performance.now();
    probabilities = await run(image);
    times.push(performance.now() - begin);
  }
  const median = times.sort((a, b) => a - b)[4];
  row(name, [shown(classified(probabilities)), `${first.toFixed(0)} ms`, `${median.toFixed(1)} ms`]);
}

async function classify(): Promise<void> {
  part('results').replaceChildren();
  const steps: [string, () => Promise<void>][] = [
    ['server', byServer],
    ['evenkeel', () => inPage('page, evenkeel', './evenkeel.js')],
    ['TF.js', () => inPage('page, TF.js on WebAssembly', './tfjs.js')],
  ];
  for (const [name, step] of steps) {
    part('status').textContent = `${name} …`;
    await step().catch((error: Error) => row(name, [`none: ${error.message}`, '', '']));
  }
  part('status').textContent = 'done';
}

part<HTMLInputElement>('file').addEventListener('change', async ({ target }) => {
  const [file] = (target as HTMLInputElement).files ?? [];
  if (!file) return;
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
});
part('run').addEventListener('click', () => void classify());
draw();

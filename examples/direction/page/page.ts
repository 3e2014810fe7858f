// The page: a line of text or a picture, as it is or turned, and what the worker says of it.

import type { Asked, Told } from './worker.ts';

const part = <E extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as E;
const canvas = part<HTMLCanvasElement>('picture');
const context = canvas.getContext('2d', { willReadFrequently: true })!;
const worker = new Worker('worker.js', { type: 'module' });
const tell = (asked: Asked) => worker.postMessage(asked);

function ask(): void {
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  tell({ picture: { data, width, height } });
}

function write(): void {
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = 'black';
  context.font = '56px sans-serif';
  context.fillText('even keel 2026', 12, 68);
}

function turn(): void {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height);
  copy.getContext('2d')!.drawImage(canvas, 0, 0);
  context.setTransform(-1, 0, 0, -1, width, height);
  context.drawImage(copy, 0, 0);
  context.setTransform(1, 0, 0, 1, 0, 0);
}

worker.addEventListener('message', ({ data }: MessageEvent<Told>) => {
  if ('ready' in data) ask();
  else if ('error' in data) part('answer').textContent = data.error;
  else {
    const [{ degrees, probability }] = data.direction;
    part('answer').textContent = `${degrees}°, ${(100 * probability).toFixed(1)} %, ${data.ms.toFixed(1)} ms`;
  }
});
part('turn').addEventListener('click', () => {
  turn();
  ask();
});
part<HTMLInputElement>('file').addEventListener('change', async ({ target }) => {
  const [file] = (target as HTMLInputElement).files ?? [];
  if (!file) return;
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  ask();
});
write();
fetch('degrees.json')
  .then((response) => response.json())
  .then((degrees) => tell({ model: new URL('model.onnx', location.href).href, degrees }));

// One library in a process of its own: ms from its first line to the first answer, and for an
// image.

import { MODEL, modelFolder } from './model.ts';
import { SIDE } from './pixels.ts';

const IMAGES = 15;
const image = Float32Array.from({ length: SIDE * SIDE * 3 }, (_, i) => Math.abs(Math.sin(i)));
const shape = [1, SIDE, SIDE, 3];

async function main(): Promise<void> {
  const folder = modelFolder();
  const start = performance.now();
  let run: () => unknown;
  if (process.argv[2] === 'tfjs') {
    const { openTfjs } = await import('./tfjs.ts');
    const predict = await openTfjs(folder, MODEL);
    run = () => predict(image, shape);
  } else {
    const { loadNetwork } = await import('../../src/weights/index.ts');
    const compiled = (await loadNetwork(`${folder}/${MODEL}`)).compile();
    run = () => compiled({ data: image, shape });
  }
  await run();
  const first = performance.now() - start;
  const times: number[] = [];
  for (let i = 0; i < IMAGES; i++) {
    const begin = performance.now();
    await run();
    times.push(performance.now() - begin);
  }
  console.log(JSON.stringify({ start: first, image: times.sort((a, b) => a - b)[IMAGES >> 1] }));
}

await main();

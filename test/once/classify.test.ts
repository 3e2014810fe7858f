// The picture classifier of examples/classify, end to end, where npm can be asked for its model.

import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MODEL, modelFolder } from '../../examples/classify/model.ts';
import { type Classified, classified, imageOf, SIDE } from '../../examples/classify/pixels.ts';
import { startServer } from '../../examples/classify/server.ts';
import { hasTfjs, openTfjs } from '../../examples/classify/tfjs.ts';

/** Why the model cannot be had; undefined where it can. */
function reason(): string | undefined {
  try {
    modelFolder();
    return undefined;
  } catch (error) {
    return `npm is out of reach: ${(error as Error).message.split('\n')[0]}`;
  }
}

const why = reason();
if (why) console.log(`skipped: ${why}`);

const [width, height] = [61, 40];
const rgba = Uint8Array.from({ length: 4 * width * height }, (_, i) => (i % 4 === 3 ? 255 : (i * 37 + (i >> 5)) % 256));

test('a picture is brought to its size with corners on corners', () => {
  const image = imageOf(rgba, width, height);
  const at = (y: number, x: number, c: number) => image[(y * SIDE + x) * 3 + c];
  const from = (y: number, x: number, c: number) => rgba[(y * width + x) * 4 + c] / 255;
  for (const c of [0, 1, 2]) {
    expect(at(0, 0, c)).toBeCloseTo(from(0, 0, c), 6);
    expect(at(SIDE - 1, SIDE - 1, c)).toBeCloseTo(from(height - 1, width - 1, c), 6);
    // 60 steps between pixels are 223 here: both places lie 30/223 of a step from the 30th pixel
    const share = 30 / 223;
    const around = share * (from(0, 29, c) + from(0, 31, c)) + 2 * (1 - share) * from(0, 30, c);
    expect(at(0, 111, c) + at(0, 112, c)).toBeCloseTo(around, 5);
  }
});

describe.skipIf(why !== undefined)('the classifier', () => {
  let at = '';
  let close = () => {};
  beforeAll(async () => {
    const server = await startServer(0);
    at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    close = () => {
      server.close();
      server.closeAllConnections();
    };
  }, 60_000);
  afterAll(() => close());

  const post = (query: string, body: Uint8Array) =>
    fetch(`${at}/classify?${query}`, { method: 'POST', body: body as never });

  test('says of a picture what TF.js says of it', async () => {
    const response = await post(`width=${width}&height=${height}`, rgba);
    expect(response.status).toBe(200);
    const { classes, ms } = (await response.json()) as { classes: Classified; ms: number };
    expect(ms).toBeGreaterThan(0);
    expect(classes.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 5);
    if (!hasTfjs()) return;
    const predict = await openTfjs(modelFolder(), MODEL);
    const truth = classified(await predict(imageOf(rgba, width, height), [1, SIDE, SIDE, 3]));
    expect(classes.map(({ name }) => name)).toEqual(truth.map(({ name }) => name));
    classes.forEach(({ probability }, i) => {
      expect(probability).toBeCloseTo(truth[i].probability, 4);
    });
  }, 60_000);

  test('serves the page, the libraries and the model', async () => {
    const page = await (await fetch(`${at}/`)).text();
    expect(page).toContain('<script type="module" src="page.js">');
    for (const name of [
      'page.js',
      'evenkeel.js',
      ...(hasTfjs() ? ['tfjs.js', 'tfjs-backend-wasm-simd.wasm'] : []),
      `model/${MODEL}`,
    ]) {
      const response = await fetch(`${at}/${name}`);
      expect(response.status, name).toBe(200);
      expect((await response.arrayBuffer()).byteLength, name).toBeGreaterThan(1000);
    }
  });

  test('the page’s module classifies from the address, as the server does', async () => {
    const { open } = await import('../../examples/classify/page/evenkeel.ts');
    const run = await open(`${at}/model/${MODEL}`);
    const own = classified(await run(imageOf(rgba, width, height)));
    const { classes } = (await (await post(`width=${width}&height=${height}`, rgba)).json()) as { classes: Classified };
    expect(own).toEqual(classes);
  }, 60_000);

  test('refuses what is no picture, and goes on', async () => {
    const cases: [string, Uint8Array, number, string][] = [
      ['width=0&height=4', rgba, 400, 'width expected a whole number from 1 to 4096, got 0'],
      ['width=4', rgba, 400, 'height expected a whole number from 1 to 4096, got none'],
      ['width=2&height=2', rgba, 413, 'a picture expected 16 bytes, got more'],
      ['width=90&height=90', rgba, 400, `a picture expected 32400 bytes, got ${rgba.length}`],
    ];
    for (const [query, body, status, message] of cases) {
      const response = await post(query, body);
      expect(response.status).toBe(status);
      expect(await response.json()).toEqual({ error: message });
    }
    expect((await fetch(`${at}/classify`)).status).toBe(405);
    expect((await fetch(`${at}/model/..%2f..%2fpackage.json`)).status).toBe(404);
    expect((await fetch(`${at}/nothing`)).status).toBe(404);
    expect((await post(`width=${width}&height=${height}`, rgba)).status).toBe(200);
  });
});

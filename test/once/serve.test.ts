// The worked example: a network of PyTorch, compiled and served.

import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Batcher } from '../../examples/serve/batcher.ts';
import { heldOut } from '../../examples/serve/data.ts';
import { loadCompiled, loadNetwork } from '../../examples/serve/model.ts';
import { startServer } from '../../examples/serve/server.ts';
import { relative } from '../support/weights.ts';

const torch = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../examples/serve/digits.json', import.meta.url)), 'utf8'),
);
const digits = heldOut();
const imageAt = (i: number) => digits.images.slice(i * 784, (i + 1) * 784);

test('gives PyTorch’s logits and accuracy', () => {
  const net = loadNetwork();
  const first = { data: digits.images.slice(0, 5 * 784), shape: [5, 784] };
  expect(relative(net.forward(first).data, torch.logits)).toBeLessThan(1e-5);
  const run = loadCompiled(64);
  expect(run.steps).toEqual(['linear 784 → 768, relu', 'linear 768 → 768, relu', 'linear 768 → 10']);
  expect(relative(run(first).data, torch.logits)).toBeLessThan(1e-5);
  const logits = run({ data: digits.images, shape: [digits.count, 784] }).data;
  let right = 0;
  for (let i = 0; i < digits.count; i++) {
    const row = logits.subarray(i * 10, (i + 1) * 10);
    if (row.indexOf(Math.max(...row)) === digits.labels[i]) right++;
  }
  expect(right / digits.count).toBeCloseTo(torch.accuracy, 3);
  run.dispose();
  net.dispose();
});

test('what waits at the same time is one batch, of so many rows at the most; too many are refused', async () => {
  const batcher = new Batcher(loadCompiled(8), 8, 20);
  const answers = Array.from({ length: 20 }, (_, i) => batcher.predict(imageAt(i * 100)));
  await expect(batcher.predict(imageAt(0))).rejects.toThrow('too many images are waiting');
  const logits = await Promise.all(answers);
  expect([batcher.images, batcher.batches]).toEqual([20, 3]);
  expect(logits.filter((row, i) => row.indexOf(Math.max(...row)) === digits.labels[i * 100]).length).toBeGreaterThan(
    17,
  );
  expect((await batcher.predict(imageAt(0))).length).toBe(10);
  expect(batcher.batches).toBe(4);
});

describe('the server', () => {
  const serving = async (work: (url: string) => Promise<void>) => {
    const server = await startServer(0, 8);
    try {
      await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };
  const post = (url: string, body: BodyInit, type = 'application/octet-stream') =>
    fetch(`${url}/predict`, { method: 'POST', body, headers: { 'content-type': type } });

  test('answers many at once, each its own', () =>
    serving(async (url) => {
      const answers = await Promise.all(
        Array.from(
          { length: 40 },
          async (_, i) => (await post(url, imageAt(i * 40))).json() as Promise<{ digit: number; logits: number[] }>,
        ),
      );
      expect(answers.filter(({ digit }, i) => digit === digits.labels[i * 40]).length).toBeGreaterThan(36);
      const alone = (await (
        await post(url, JSON.stringify({ pixels: Array.from(imageAt(0)) }), 'application/json')
      ).json()) as { logits: number[] };
      expect(relative(alone.logits, answers[0].logits)).toBeLessThan(1e-5);
      const { images, batches } = (await (await fetch(`${url}/health`)).json()) as { images: number; batches: number };
      expect(images).toBe(41);
      expect(batches).toBeGreaterThan(0);
    }));

  test('refuses what is no image, and goes on', () =>
    serving(async (url) => {
      const refused = async (response: Response) => [
        response.status,
        ((await response.json()) as { error: string }).error,
      ];
      expect(await refused(await post(url, new Uint8Array(7)))).toEqual([400, '3136 bytes expected, got 7']);
      expect(await refused(await post(url, '{', 'application/json'))).toEqual([400, 'JSON expected']);
      expect(await refused(await post(url, '{"pixels":[1]}', 'application/json'))).toEqual([
        400,
        '784 pixels expected',
      ]);
      expect(await refused(await post(url, new Float32Array(784).fill(Number.NaN)))).toEqual([
        400,
        'finite numbers expected',
      ]);
      expect(await refused(await post(url, new Uint8Array(100_000)))).toEqual([413, 'at most 65536 bytes']);
      expect(await refused(await fetch(`${url}/elsewhere`))).toEqual([404, 'POST /predict, GET /health']);
      expect(await refused(await fetch(`${url}/predict`))).toEqual([405, 'POST an image']);
      expect((await post(url, imageAt(0))).status).toBe(200);
    }));
});

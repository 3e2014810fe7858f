// The worked example: a network of PyTorch, compiled and served.

import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Connection, requestFor } from '../../examples/serve/client.ts';
import { heldOut } from '../../examples/serve/data.ts';
import { loadCompiled, loadNetwork } from '../../examples/serve/model.ts';
import { type Service, startServer } from '../../examples/serve/server.ts';
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

describe('the server', () => {
  const compiled = loadCompiled(1);
  const network = compiled.save();
  compiled.dispose();
  const serving = async (work: (url: string, service: Service) => Promise<void>, options = {}) => {
    const service = await startServer(0, network, { maxBatch: 8, workers: 1, ...options });
    try {
      await work(`http://127.0.0.1:${service.port}`, service);
    } finally {
      await service.stop(0);
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
      expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: 'ok' });
      expect((await fetch(`${url}/ready`)).status).toBe(200);
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).toContain('evenkeel_pool_requests_total{outcome="completed"} 41\n');
      expect(metrics).toMatch(/^evenkeel_pool_batches_total ([1-9]|[12]\d|3\d)$/m);
      expect(metrics).toContain('evenkeel_pool_worker_restarts_total{worker="0"} 0\n');
    }));

  test('refuses what there is no room for, and answers the rest', () =>
    serving(
      async (url) => {
        const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => post(url, imageAt(i))));
        const statuses = answers.map(({ status }) => status);
        expect(new Set(statuses)).toEqual(new Set([200, 503]));
        const refused = answers[statuses.indexOf(503)];
        expect(refused.headers.get('retry-after')).toBe('1');
        expect(((await refused.json()) as { error: string }).error).toBe(
          'pool: run expected fewer than 1 requests waiting, got 1',
        );
        await Promise.all(answers.map((answer) => answer.bodyUsed || answer.arrayBuffer()));
      },
      { maxQueue: 1, maxBatch: 1 },
    ));

  test('a server that stops is not ready, answers, and then closes', () =>
    serving(async (url, service) => {
      await (await post(url, imageAt(0))).json();
      const stopped = service.stop(300);
      const ready = await fetch(`${url}/ready`);
      expect([ready.status, ready.headers.get('connection')]).toEqual([503, 'close']);
      expect((await post(url, imageAt(0))).status).toBe(200);
      await stopped;
      await expect(post(url, imageAt(0))).rejects.toThrow();
      await expect(service.pool.run({ data: imageAt(0), shape: [1, 784] })).rejects.toThrow('closed');
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
      expect(await refused(await fetch(`${url}/elsewhere`))).toEqual([
        404,
        'POST /predict, GET /health, /ready, /metrics',
      ]);
      expect(await refused(await fetch(`${url}/predict`))).toEqual([405, 'POST an image']);
      expect((await post(url, imageAt(0))).status).toBe(200);
    }));
});

test('no request that was sent is lost at SIGTERM', async () => {
  const main = fileURLToPath(new URL('../../examples/serve/main.ts', import.meta.url));
  const child: ChildProcess = fork(main, ['--port', '0', '--workers', '1', '--drain', '400'], {
    silent: true,
    execArgv: ['--import', new URL('../../scripts/typescript.mjs', import.meta.url).href],
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const { port } = await new Promise<{ port: number }>((resolve, reject) => {
    child.once('message', (message) => resolve(message as { port: number }));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const request = requestFor(imageAt(0));
  let [sent, answered] = [0, 0];
  // as clients behind a balancer: none goes on where the server has said that it closes
  const client = async () => {
    for (let isOpen = true; isOpen; ) {
      const connection = await Connection.open(port);
      for (let i = 0; i < 50 && isOpen; i++) {
        sent++;
        expect(JSON.parse(await connection.ask(request)).digit).toBe(digits.labels[0]);
        answered++;
        isOpen = !connection.closed;
      }
      connection.close();
    }
  };
  const clients = Promise.all(Array.from({ length: 8 }, client));
  await new Promise((resolve) => setTimeout(resolve, 700));
  const before = answered;
  child.kill('SIGTERM');
  await clients;
  expect(await ended).toBe(0);
  expect(before).toBeGreaterThan(50);
  expect(answered).toBe(sent);
});

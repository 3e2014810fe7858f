// A page's pool over Web Workers: what it gives, and what becomes of requests whose workers die.
// Shows one line, an object of what was found.

import { BatchNorm1d, configure, Linear, ReLU, Sequential } from 'evenkeel';
import { pool } from 'evenkeel/pool';

configure({ deterministic: true });
const values = (seed, length) => Float32Array.from({ length }, (_, i) => Math.sin(seed * 7 + i * 1.7));
const net = new Sequential(
  new Linear(6, 16, { seed: 1 }),
  new BatchNorm1d(16),
  new ReLU(),
  new Linear(16, 3, { seed: 2 }),
);
net.forward({ data: values(1, 192), shape: [32, 6] });
const compiled = net.eval().compile();
const row = (seed, rows = 1) => ({ data: values(seed, rows * 6), shape: [rows, 6] });
const same = (a, b) => a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
const codeOf = (promise) =>
  promise.then(
    () => 'no error',
    ({ code, message }) => `${code}: ${message}`,
  );
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Answers of a pool to 40 requests of one to three rows, all at once, are those of the network. */
async function serves(source, options) {
  const p = await pool(source, { workers: 2, maxBatch: 8, ...options });
  const inputs = Array.from({ length: 40 }, (_, i) => row(i + 2, 1 + (i % 3)));
  const right = [];
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(inputs.map((x) => p.run(x)));
    right.push(
      answers.every(({ data, shape }, i) => shape[0] === inputs[i].shape[0] && same(data, compiled(inputs[i]).data)),
    );
  }
  const { batches, requests } = p.stats();
  await p.close();
  return { right: right.every(Boolean), batches: batches.count, completed: requests.completed };
}

async function dies() {
  const two = (what) => ({ data: Float32Array.of(what, 1), shape: [1, 2] });
  const p = await pool('/hostile.mjs', { workers: 2, maxBatch: 1 });
  const good = () => Promise.all(Array.from({ length: 6 }, (_, i) => p.run(two(i)).then(({ data }) => data[0])));
  const restarts = () => p.stats().workers.reduce((sum, one) => sum + one.restarts, 0);
  const found = { before: await good() };
  // closes itself the first time: its request is run again, in another worker
  found.once = (await p.run(two(777))).data[0];
  found.restartsAfterOne = restarts();
  // closes itself every time
  const [always, others] = await Promise.all([codeOf(p.run(two(666))), good()]);
  found.always = always;
  found.others = others;
  // an error that nobody catches
  const uncaught = restarts();
  await p.run(two(500));
  for (let tries = 0; restarts() === uncaught && tries < 400; tries++) await pause(10);
  found.restartsAfterError = restarts() - uncaught;
  found.after = await good();
  found.timeout = (await codeOf(p.run(two(1300), { timeout: 50 }))).split(':')[0];
  const last = p.run(two(1100));
  const closed = p.close();
  found.refused = (await codeOf(p.run(two(1)))).split(':')[0];
  found.drained = (await last).data[0];
  await closed;
  found.left = p.stats().running + p.stats().queued;
  return found;
}

const show = (text) => {
  document.getElementById('answer').textContent += `${text}\n`;
};
addEventListener('error', ({ message }) => show(`error: ${message}`));
addEventListener('unhandledrejection', ({ reason }) => show(`error: ${reason?.stack ?? reason}`));

const bytes = compiled.save();
const response = await fetch('/net.safetensors', { method: 'PUT', body: bytes });
if (!response.ok) throw new Error(`PUT: ${response.status}`);
show(
  JSON.stringify({
    isolated: crossOriginIsolated,
    bytes: await serves(bytes),
    url: await serves('/net.safetensors'),
    link: await serves(new URL('/net.safetensors', location.href), { operations: ['activations'] }),
    missing: await codeOf(pool('/none.safetensors')),
    broken: await codeOf(pool('/broken.safetensors')),
    dies: await dies(),
  }),
);

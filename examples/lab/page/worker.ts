// Runs the duel and the experiments beside the page: the same code as on the command line.

import { ActivationLayer, BatchNorm, type Layer, Linear, type Sequential } from 'evenkeel';
import type { Digits } from '../../digits/digits.ts';
import { PIXELS } from '../../digits/digits.ts';
import { Duel, STEPS } from '../duel.ts';
import { EXPERIMENTS } from '../experiments.ts';
import { playground } from '../playground.ts';
import { live } from '../training.ts';
import { type Text, t } from '../words.ts';
import type { FromWorker, Live, ToWorker } from './protocol.ts';

const scope = globalThis as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: ((event: { data: ToWorker }) => void) | null;
};
const tell = (message: FromWorker) => scope.postMessage(message);

/** Live pictures a second. */
const PICTURES = 8;
/** Milliseconds that the duel takes at least, so that one sees it go. */
const DUEL_TIME = 15_000;
let resume: (() => void) | undefined;
let paused = false;

/** Lets messages in; waits while the page pauses. */
async function rest(milliseconds = 0): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
  while (paused) {
    await new Promise<void>((resolve) => {
      resume = resolve;
    });
  }
}

/** Shows nets while experiments train them. */
function watch(): void {
  let last = 0;
  let counted = { step: 0, at: 0 };
  live.rest = rest;
  live.step = (net, step, loss) => {
    const now = performance.now();
    if (step < counted.step || counted.at === 0) counted = { step, at: now };
    if (now - last < 1000 / PICTURES) return false;
    last = now;
    const spent = (now - counted.at) / 1000;
    tell({ tell: 'live', live: picture(net, step, loss, spent > 0 ? (step - counted.step) / spent : 0) });
    return true;
  };
}

const NEURON = 0;

/** What one neuron of the first hidden layer, and the last activation, made of the last batch. */
function picture(net: Sequential, step: number, loss: number, stepsPerSecond: number): Live {
  // a batch that is not finite would be counted once more by running it again
  const outputs = Number.isFinite(loss) ? live.outputs(net) : [];
  const neuron: { stage: Text; values: number[] }[] = [];
  for (const { layer, data, units } of outputs) {
    const stage = stageOf(layer);
    if (!stage) continue;
    neuron.push({
      stage,
      values: Array.from({ length: Math.min(data.length / units, 60) }, (_, n) => data[n * units + NEURON]),
    });
    if (layer instanceof ActivationLayer) break;
  }
  const all = outputs.filter(({ layer }) => layer instanceof ActivationLayer).at(-1)?.data ?? new Float32Array(0);
  // what is out of range of numbers has no place in a picture
  const values = all.filter(Number.isFinite);
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
  const histogram = new Array<number>(20).fill(0);
  for (const v of values)
    histogram[Math.min(19, Math.floor(((v - low) / (high - low || 1)) * 20))] += 1 / values.length;
  return { step, loss, stepsPerSecond, histogram, range: [low, high], neuron };
}

function stageOf(layer: Layer): Text | undefined {
  if (layer instanceof Linear) return t`linear layer`;
  if (layer instanceof BatchNorm) return t`batch norm`;
  if (layer instanceof ActivationLayer) return t`activation`;
  return /Norm/.test(layer.subject) ? t`norm` : undefined;
}

async function load(): Promise<{ train: Digits; test: Digits }> {
  const response = await fetch('digits.bin');
  if (!response.ok) throw new Error(`digits.bin: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const [trained, held] = new Uint32Array(bytes.buffer, 0, 2);
  let at = 8;
  const take = (count: number): Digits => {
    const labels = bytes.slice(at, at + count);
    at += count;
    const images = Float32Array.from(bytes.subarray(at, at + count * PIXELS), (v) => v / 255);
    at += count * PIXELS;
    return { images, labels, count };
  };
  return { train: take(trained), test: take(held) };
}

async function run({ name, seed, controls }: Extract<ToWorker, { do: 'run' }>): Promise<void> {
  const digits = await load();
  watch();
  const experiment = [...EXPERIMENTS, playground].find((one) => one.name === name)!;
  const result = await experiment.run({
    digits,
    seeds: [seed],
    share: name === playground.name ? 1 : 0.25,
    controls,
    async show(text) {
      tell({ tell: 'progress', text });
      await rest();
    },
  });
  tell({ tell: 'result', result, trained: digits.train.count, held: digits.test.count });
}

async function duel({ settings, isStill }: Extract<ToWorker, { do: 'duel' }>): Promise<void> {
  const nets = new Duel(await load(), settings);
  let [due, shown] = [performance.now(), 0];
  while (!nets.isDone) {
    const isSeen = !isStill && performance.now() - shown >= 1000 / PICTURES;
    nets.step(isSeen);
    if (isSeen) {
      shown = performance.now();
      tell({ tell: 'scene', scene: nets.scene, isDone: false });
    }
    // a machine that cannot keep pace, or paused, does not hurry afterwards
    due = Math.max(due + (isStill ? 0 : DUEL_TIME / STEPS), performance.now() - 100);
    const wait = due - performance.now();
    if (wait > 0 || isSeen || isStill) await rest(Math.max(0, wait));
  }
  tell({ tell: 'scene', scene: nets.scene, isDone: true });
}

const failed = (error: Error) => tell({ tell: 'error', message: error.message });
scope.onmessage = ({ data }) => {
  if (data.do === 'run') run(data).catch(failed);
  else if (data.do === 'duel') duel(data).catch(failed);
  else {
    paused = data.do === 'pause';
    if (!paused) resume?.();
  }
};
tell({ tell: 'ready' });

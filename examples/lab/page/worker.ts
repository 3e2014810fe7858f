// Runs experiments beside the page: the same code as on the command line.

import { ActivationLayer, BatchNorm, type Layer, Linear, type Sequential } from 'evenkeel';
import type { Digits } from '../../digits/digits.ts';
import { PIXELS } from '../../digits/digits.ts';
import { EXPERIMENTS } from '../experiments.ts';
import { playground } from '../playground.ts';
import { live } from '../training.ts';
import { judged } from '../verdict.ts';
import { say, spoken } from '../words.ts';
import type { FromWorker, Live, ToWorker } from './protocol.ts';

const scope = globalThis as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: ((event: { data: ToWorker }) => void) | null;
};
const tell = (message: FromWorker) => scope.postMessage(message);

/** Live pictures a second. */
const PICTURES = 8;
let resume: (() => void) | undefined;
let paused = false;

/** Lets messages in; waits while the page pauses. */
async function rest(): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  while (paused) {
    await new Promise<void>((resolve) => {
      resume = resolve;
    });
  }
}

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

const NEURON = 0;

/** What one neuron of the first hidden layer, and the last activation, made of the last batch. */
function picture(net: Sequential, step: number, loss: number, stepsPerSecond: number): Live {
  // a batch that is not finite would be counted once more by running it again
  const outputs = Number.isFinite(loss) ? live.outputs(net) : [];
  const neuron: { stage: string; values: number[] }[] = [];
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

function stageOf(layer: Layer): string | undefined {
  if (layer instanceof Linear) return 'linear';
  if (layer instanceof BatchNorm) return 'batch norm';
  if (layer instanceof ActivationLayer) return 'activation';
  return /Norm/.test(layer.subject) ? 'norm' : undefined;
}

async function load(): Promise<{ train: Digits; test: Digits }> {
  const bytes = new Uint8Array(await (await fetch('digits.bin')).arrayBuffer());
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

const digits = load();

async function run({ name, seed, controls }: Extract<ToWorker, { do: 'run' }>): Promise<void> {
  try {
    counted = { step: 0, at: 0 };
    const experiment = [...EXPERIMENTS, playground].find((one) => one.name === name)!;
    const result = await experiment.run({
      digits: await digits,
      seeds: [seed],
      share: name === playground.name ? 1 : 0.25,
      controls,
      async show(text) {
        tell({ tell: 'progress', text: say(text) });
        await rest();
      },
    });
    tell({ tell: 'result', result: spoken(result), judged: say(judged(result.holds)) });
  } catch (error) {
    tell({ tell: 'error', message: (error as Error).message });
  }
}

scope.onmessage = ({ data }) => {
  if (data.do === 'run') run(data);
  else {
    paused = data.do === 'pause';
    if (!paused) resume?.();
  }
};
digits.then(() => tell({ tell: 'ready' }));

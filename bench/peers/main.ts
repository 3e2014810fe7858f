// npm run bench:peers [-- --filter TEXT] [--time MS]
//
// The same data through evenkeel and its peers, each on one thread, in turns within one run.
// Outputs are compared before anything is timed.

import { readArguments } from '../../scripts/arguments.ts';
import { type Sequential, tensor, zeros } from '../../src/index.ts';
import { type CaseName, digitsInput, digitsName, digitsNetwork, layerFor, normWords } from '../cases.ts';
import { convnetContender } from '../convnet-cases.ts';
import { type Convnet, imagesFor, layer, NETWORKS } from '../convnets.ts';
import { nameOf, type PeerRow } from '../figures.ts';
import { about, keep } from '../results.ts';
import {
  SAMPLE_NORM_SHAPES,
  type SampleNormShape,
  SampleNormWorkload,
  sampleNormLayoutsOf,
} from '../sample-norm-workload.ts';
import { selected } from '../select.ts';
import { type BenchLayout, type BenchShape, layoutsOf, SHAPES } from '../shapes.ts';
import { timeTogether } from '../timing.ts';
import { relativeDifference, Workload } from '../workload.ts';
import { onnxruntime } from './onnxruntime.ts';
import type { Contender, Peer } from './peer.ts';
import { PyTorch } from './pytorch.ts';
import { tfjs } from './tfjs.ts';
import { ownTraining, trainingStep } from './training.ts';

const options = readArguments({
  options: { filter: { type: 'string', default: '' }, time: { type: 'string', default: '150' } },
});
const time = Number(options.time);

/** Shapes worth the others' time: from one row to what lies beyond cache. */
const MEASURED = [
  'row',
  'tiny',
  'resnet50/conv2 one image',
  'resnet50/conv2 eight',
  'resnet50/conv2',
  'resnet50/conv5',
];

/** Looser than against the plain loops: the others compute in f32 throughout. */
const TOLERANCE = 1e-3;

const OURS: Peer = {
  name: 'evenkeel',
  version: '',
  async norm(op, workload) {
    const { x, dy, stored } = workload;
    const [tx, tdy, ty] = [tensor(x, stored), tensor(dy, stored), zeros(stored)];
    const bn = layerFor(workload);
    bn.train(op !== 'eval');
    if (op === 'backward') bn.forward(tx, { out: ty });
    const work = op === 'backward' ? () => bn.backward(tdy, { out: ty }) : () => bn.forward(tx, { out: ty });
    return {
      work,
      output: () => {
        work();
        return ty.data;
      },
      dispose: () => {
        for (const held of [tx, tdy, ty, bn]) held.dispose();
      },
    };
  },
  async network(rows, input) {
    const run = net.compile();
    const [tx, ty] = [tensor(input, [rows, 784]), zeros([rows, 10])];
    return {
      work: () => run(tx, { out: ty }),
      output: () => run(tx, { out: ty }).data,
      dispose: () => {
        for (const held of [tx, ty, run]) held.dispose();
      },
    };
  },
  convnet: async (net, batch) => convnetContender(net, batch),
};

const net: Sequential = digitsNetwork();

async function load<T>(name: string, start: () => Promise<T>): Promise<T | undefined> {
  try {
    return await start();
  } catch (error) {
    console.log(`without ${name}: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

const loaded = [
  await load('onnxruntime-node', () => onnxruntime('onnxruntime-node')),
  await load('onnxruntime-web', () => onnxruntime('onnxruntime-web')),
  await load('tfjs-wasm', () => tfjs('wasm')),
  await load('tfjs-cpu', () => tfjs('cpu')),
];
const peers = [OURS, ...loaded.filter((peer) => peer !== undefined)];
const pytorch = await PyTorch.start();
if (!pytorch) console.log('without PyTorch: no Python with torch and numpy');

const versions = Object.fromEntries(peers.slice(1).map(({ name, version }) => [name, version]));
const head = { ...about(), peers: { ...versions, ...(pytorch && { PyTorch: pytorch.version }) } };
console.log(
  `${head.machine}; Node ${head.node}; ${head.backend} build; one thread each; medians in µs; ${head.date}\n`,
);
const rows: PeerRow[] = [];

type Label = Pick<PeerRow, 'op' | 'layout' | 'shape'>;

const isWanted = (label: Label & Pick<CaseName, 'also'>) => selected([label], options.filter).size > 0;

/** Compares the outputs, then times everyone in turns. */
async function compare(
  label: Label,
  contenders: Record<string, Contender>,
  expected: ArrayLike<number>,
  external?: { name: string; result: Float32Array; time(milliseconds: number): Promise<number[]> },
): Promise<void> {
  const outputs: [string, ArrayLike<number>][] = external ? [[external.name, external.result]] : [];
  for (const [name, contender] of Object.entries(contenders)) outputs.push([name, await contender.output()]);
  for (const [name, output] of outputs) {
    const difference = relativeDifference(output, expected);
    if (difference < TOLERANCE) continue;
    const complaint = `${name}: ${label.op} ${label.layout} ${label.shape} differs by ${difference.toPrecision(3)} of the largest value`;
    if (name !== external?.name) throw new Error(complaint);
    // who gives another result is not timed (instance norm's gradient, channels last and one
    // sample, PyTorch 1.13)
    console.log(`${complaint}: left out`);
    for (const { dispose } of Object.values(contenders)) dispose?.();
    return;
  }
  const all = Object.entries(contenders);
  const works = Object.fromEntries(all.filter(([, { slow }]) => !slow).map(([name, { work }]) => [name, work]));
  const samples: number[] = [];
  const medians: Record<string, number[]> = {};
  for (let turn = 0; turn < 3; turn++) {
    const timings = await timeTogether(works, time / 3);
    for (const [name, { median }] of Object.entries(timings)) (medians[name] ??= []).push(median);
    for (const [name, { work, slow }] of all) {
      if (!slow) continue;
      const start = performance.now();
      await work();
      (medians[name] ??= []).push((performance.now() - start) * 1000);
    }
    if (external) samples.push(...(await external.time(time / 3)));
  }
  const times = Object.fromEntries(Object.entries(medians).map(([name, values]) => [name, middle(values)]));
  if (external) times[external.name] = middle(samples);
  rows.push({ ...label, times });
  const ours = times.evenkeel;
  const others = Object.entries(times).slice(1);
  const text = others.map(([name, value]) => `${name} ${value.toFixed(1)} (${(value / ours).toFixed(2)}×)`);
  console.log(`${nameOf(label).padEnd(58)} ${ours.toFixed(2).padStart(9)}   ${text.join('   ')}`);
  for (const { dispose } of Object.values(contenders)) dispose?.();
}

function middle(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

async function norm(op: string, shape: BenchShape, layout: BenchLayout): Promise<void> {
  const workload = new Workload(shape, layout);
  const label = { op, layout: workload.extent.kernel, shape: `${shape.name} ${workload.stored.join('x')}` };
  if (!isWanted({ ...label, also: normWords(op, shape, layout) })) return;
  const contenders: Record<string, Contender> = {};
  for (const peer of peers) {
    const contender = await peer.norm(op, workload);
    if (contender) contenders[peer.name] = contender;
  }
  if (op === 'eval') workload.evaluate();
  else workload.train();
  if (op === 'backward') workload.backward();
  const external = pytorch && {
    name: 'PyTorch',
    result: await pytorch.prepare(op, workload),
    time: (milliseconds: number) => pytorch.time(milliseconds),
  };
  await compare(label, contenders, workload.y, external);
}

for (const shape of SHAPES.filter(({ name }) => MEASURED.includes(name))) {
  for (const layout of layoutsOf(shape)) {
    await norm('eval', shape, layout);
    if (shape.dims.length > 2) {
      await norm('train', shape, layout);
      await norm('backward', shape, layout);
    }
  }
}
/** The other norms beside PyTorch, which alone has them all. */
async function sampleNorm(shape: SampleNormShape, layout: BenchLayout): Promise<void> {
  const workload = new SampleNormWorkload(shape, layout);
  const { stored, x, dy } = workload;
  const kernel = shape.dims.length === 2 ? 'rows' : layout === 'channels-last' ? 'nxc' : 'ncx';
  for (const op of [shape.op, `${shape.op}, backward`]) {
    const label = { op, layout: kernel, shape: `${shape.name} ${stored.join('x')}` };
    if (!isWanted(label)) continue;
    const [tx, tdy, ty] = [tensor(x, stored), tensor(dy, stored), zeros(stored)];
    const layer = workload.layer();
    const forward = () => layer.forward(tx as never, { out: ty });
    forward();
    const work = op === shape.op ? forward : () => layer.backward(tdy, { out: ty });
    workload.forward();
    if (op !== shape.op) workload.backward();
    const contender = {
      work,
      output: () => {
        work();
        return ty.data;
      },
      dispose: () => {
        for (const held of [tx, tdy, ty, layer]) held.dispose();
      },
    };
    const result = await pytorch!.prepare(op, workload);
    const time = (milliseconds: number) => pytorch!.time(milliseconds);
    await compare(label, { evenkeel: contender }, workload.y, { name: 'PyTorch', result, time });
  }
}

for (const shape of pytorch ? SAMPLE_NORM_SHAPES : [])
  for (const layout of sampleNormLayoutsOf(shape)) await sampleNorm(shape, layout);
for (const batch of [1, 64]) {
  const { also, ...label } = digitsName('digits MLP', batch);
  if (!isWanted({ ...label, also })) continue;
  const input = digitsInput(batch);
  const contenders: Record<string, Contender> = {};
  for (const peer of peers) {
    const contender = await peer.network(batch, input, net.stateDict());
    if (contender) contenders[peer.name] = contender;
  }
  await compare(label, contenders, net.forward({ data: input, shape: [batch, 784] }).data);
}

/** Layers that show what a whole network does not: depthwise, 1×1, few pixels, the stem. */
const LAYERS = [
  layer(112, 96, 96, 3, 1, 96),
  layer(14, 384, 384, 3, 1, 384),
  layer(56, 64, 64, 3),
  layer(14, 256, 256, 3),
  layer(7, 512, 512, 3),
  layer(56, 64, 256, 1),
  layer(14, 64, 384, 1),
  layer(224, 3, 64, 7, 2),
];

async function convnet(net: Convnet): Promise<void> {
  const label = { op: 'convnet', layout: 'ncx', shape: `${net.name}, batch 1` };
  if (!isWanted(label)) return;
  const images = imagesFor(net, 1);
  const contenders: Record<string, Contender> = {};
  for (const peer of peers) {
    // plain JavaScript takes seconds for a network
    const contender = peer.name === 'tfjs-cpu' ? undefined : await peer.convnet(net, 1, images);
    if (contender) contenders[peer.name] = contender;
  }
  const expected = await contenders[Object.keys(contenders)[1] ?? 'evenkeel'].output();
  await compare(label, contenders, expected);
}

for (const make of NETWORKS) await convnet(make());
for (const one of LAYERS) await convnet(one);

/** A step of training; who lacks a gradient is named and left out. */
async function training(): Promise<void> {
  const label = { op: 'training step', layout: 'nxc', shape: 'convnet 28², batch 64' };
  if (!isWanted(label)) return;
  const spec = trainingStep();
  const contenders: Record<string, Contender> = {
    evenkeel: ownTraining(spec, 'channels-last'),
    'evenkeel, channels first': ownTraining(spec, 'channels-first'),
  };
  for (const { name, training } of peers) {
    if (!training) continue;
    const contender = await load(name, () => training(spec));
    if (contender) contenders[name] = contender;
  }
  const external = pytorch && {
    name: 'PyTorch',
    result: await pytorch.prepareTraining(spec),
    time: (milliseconds: number) => pytorch.time(milliseconds),
  };
  await compare(label, contenders, await contenders.evenkeel.output(), external);
}

await training();

pytorch?.close();
if (options.filter === '') console.log(`\n${keep('peers', { about: head, rows })}`);

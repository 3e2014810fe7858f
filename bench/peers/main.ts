// npm run bench:peers [-- --filter TEXT] [--list] [--time MS]
//
// The same data through evenkeel and its peers, each on one thread, in turns within one run.
// Outputs are compared before anything is timed. Peers are installed where they are missing, once
// it is known that there is something to measure.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Sequential, tensor, zeros } from '../../src/index.ts';
import { digitsInput, digitsNetwork, layerFor } from '../cases.ts';
import { convnetContender } from '../convnet-cases.ts';
import { imagesFor } from '../convnets.ts';
import { nameOf, type PeerRow } from '../figures.ts';
import { readPeerOptions } from '../options.ts';
import { about, keep } from '../results.ts';
import { SampleNormWorkload } from '../sample-norm-workload.ts';
import { chosenBy } from '../select.ts';
import { slowRounds, timeTogether } from '../timing.ts';
import { relativeDifference, Workload } from '../workload.ts';
import { type PeerCase, peerCases } from './cases.ts';
import { onnxruntime } from './onnxruntime.ts';
import type { Contender, Peer } from './peer.ts';
import { PyTorch } from './pytorch.ts';
import { tfjs } from './tfjs.ts';
import { ownTraining, trainingStep } from './training.ts';

const options = readPeerOptions();
const chosen = chosenBy(options.filter, peerCases());
if (options.list) {
  for (const name of chosen) console.log(nameOf(name));
  process.exit(0);
}
const { time } = options;
execFileSync(process.execPath, [fileURLToPath(new URL('./install.mjs', import.meta.url))], { stdio: 'inherit' });

/** Looser than against the plain loops: the others compute in f32 throughout. */
const TOLERANCE = 1e-3;

/** How often everyone is timed, in turns. */
const TURNS = 3;

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
  for (let turn = 0; turn < TURNS; turn++) {
    const timings = await timeTogether(works, time / TURNS, { slowRounds: slowRounds(TURNS) });
    for (const [name, { median }] of Object.entries(timings)) (medians[name] ??= []).push(median);
    for (const [name, { work, slow }] of all) {
      if (!slow) continue;
      const start = performance.now();
      await work();
      (medians[name] ??= []).push((performance.now() - start) * 1000);
    }
    if (external) samples.push(...(await external.time(time / TURNS)));
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

async function norm({ op, layout, shape, bench, order }: Extract<PeerCase, { kind: 'norm' }>): Promise<void> {
  const workload = new Workload(bench, order);
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
  await compare({ op, layout, shape }, contenders, workload.y, external);
}

/** The other norms beside PyTorch, which alone has them all. */
async function sampleNorm(one: Extract<PeerCase, { kind: 'sample norm' }>): Promise<void> {
  const { op, layout, shape, bench, order } = one;
  if (!pytorch) {
    if (options.filter) console.log(`${nameOf(one)}: left out, as PyTorch alone has it`);
    return;
  }
  const workload = new SampleNormWorkload(bench, order);
  const { stored, x, dy } = workload;
  const [tx, tdy, ty] = [tensor(x, stored), tensor(dy, stored), zeros(stored)];
  const layer = workload.layer();
  const forward = () => layer.forward(tx as never, { out: ty });
  forward();
  const work = op === bench.op ? forward : () => layer.backward(tdy, { out: ty });
  workload.forward();
  if (op !== bench.op) workload.backward();
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
  const result = await pytorch.prepare(op, workload);
  const time = (milliseconds: number) => pytorch.time(milliseconds);
  await compare({ op, layout, shape }, { evenkeel: contender }, workload.y, { name: 'PyTorch', result, time });
}

async function network({ op, layout, shape, rows }: Extract<PeerCase, { kind: 'network' }>): Promise<void> {
  const input = digitsInput(rows);
  const contenders: Record<string, Contender> = {};
  for (const peer of peers) {
    const contender = await peer.network(rows, input, net.stateDict());
    if (contender) contenders[peer.name] = contender;
  }
  await compare({ op, layout, shape }, contenders, net.forward({ data: input, shape: [rows, 784] }).data);
}

async function convnet({ op, layout, shape, net }: Extract<PeerCase, { kind: 'convnet' }>): Promise<void> {
  const images = imagesFor(net, 1);
  const contenders: Record<string, Contender> = {};
  for (const peer of peers) {
    // plain JavaScript takes seconds for a network
    const contender = peer.name === 'tfjs-cpu' ? undefined : await peer.convnet(net, 1, images);
    if (contender) contenders[peer.name] = contender;
  }
  const expected = await contenders[Object.keys(contenders)[1] ?? 'evenkeel'].output();
  await compare({ op, layout, shape }, contenders, expected);
}

/** A step of training; who lacks a gradient is named and left out. */
async function training({ op, layout, shape }: Label): Promise<void> {
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
  await compare({ op, layout, shape }, contenders, await contenders.evenkeel.output(), external);
}

for (const one of chosen) {
  if (one.kind === 'norm') await norm(one);
  else if (one.kind === 'sample norm') await sampleNorm(one);
  else if (one.kind === 'network') await network(one);
  else if (one.kind === 'convnet') await convnet(one);
  else await training(one);
}

pytorch?.close();
if (options.filter === '') console.log(`\n${keep('peers', { about: head, rows })}`);

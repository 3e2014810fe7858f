// Batch norm of an ONNX model, folded into the layers beside it. The model is read once, norms are
// folded in a graph in memory where every change is counted, and fields of the file that do not
// change are carried over byte for byte.

import { type EvenkeelError, malformed } from '../errors.ts';
import { type Affine, affineOf } from '../fold/norm.ts';
import { type Bytes, bytesFrom } from '../formats/bytes.ts';
import { type OnnxModel, type OnnxReadOptions, readOnnx } from '../formats/onnx.ts';
import { FoldGraph, type Live } from './fold-onnx-graph.ts';
import { FoldedLayer, type FoldedScales, isFoldable } from './fold-onnx-layer.ts';
import { writeFolded } from './fold-onnx-write.ts';
import type { FileFold, FoldedNorm } from './fold-report.ts';
import { normsOf, type OnnxNorm, strangeBatchNorms } from './onnx.ts';
import { type Constant, sizeOf } from './onnx-constants.ts';
import { checkOpset, graphFor } from './onnx-graph.ts';

const FORMAT = 'ONNX';
const NONE: readonly string[] = [];
const LAYERS = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'];

/**
 * Folds every BatchNormalization in inference mode into the Conv, ConvTranspose, Gemm or MatMul
 * before it, or else the one behind it, where that changes nothing but rounding. Models keep their
 * names, versions and metadata, and never grow. Data from other files (`files`) is inside the new
 * file.
 *
 *     const { file, folded, kept } = foldOnnx(await readFile('model.onnx'));
 *
 * @param file bytes of the model
 * @throws ERR_FORMAT for bytes that are no model, and for operators before version 7
 */
export function foldOnnx(file: Bytes, options: OnnxReadOptions = {}): FileFold {
  const bytes = bytesFrom(FORMAT, file);
  const model = readOnnx(bytes, options);
  checkOpset(model);
  checkParts(model);
  let kept: FileFold['kept'] = [];
  // rarely parameters are shared so much that new biases take more than goes
  for (const isStrict of [false, true]) {
    const folding = new Folding(new FoldGraph(graphFor(model)), normsOf(model), isStrict);
    folding.run();
    kept = folding.kept();
    const out = writeFolded(bytes, folding.graph, options);
    if (out.length <= model.size || (folding.folded.length === 0 && model.files.length > 0))
      return { file: out, folded: folding.reports(), kept, assumed: folding.assumed() };
  }
  const larger = normsOf(model).map(({ name }) => ({ norm: name, reason: LARGER }));
  return { file: Uint8Array.from(bytes), folded: [], kept: larger.length ? larger : kept, assumed: [] };
}

/** What folding may take in memory: so many bytes, or so many times the model. */
const HARMLESS = 64e6;
const MOST_EXPANSION = 10;
/**
 * What it takes, in bytes, measured at the peak (Node 20): itself, a tensor, a node, a name in it,
 * a norm.
 */
const ITSELF = 45e6;
const TENSOR = 550;
const NODE = 700;
const NAME = 60;
const NORM = 1500;

/**
 * A model with weights has few parts for its size. Throws ERR_FORMAT for one that would take more
 * memory than it is worth.
 */
function checkParts({ size, nodes, initializers }: OnnxModel): void {
  let cost = ITSELF + size + TENSOR * initializers.size;
  for (const { op, inputs, outputs } of nodes)
    cost += NODE + NAME * (inputs.length + outputs.length) + (op === 'BatchNormalization' ? NORM : 0);
  if (cost <= Math.max(HARMLESS, MOST_EXPANSION * size)) return;
  const parts = `${nodes.length} nodes and ${initializers.size} initializers`;
  throw malformed(FORMAT, 'model', 'fewer parts for its size, to be folded', parts, 0);
}

const LARGER = 'folded into its layer it would make the file larger, as what it takes is shared';
/** A norm scales axis 1, a product's output is the last: the same in rank 2 alone. */
const OTHER_AXIS = 'a MatMul before it whose output is not known to have rank 2';

/** One pair of norm and layer, as a fold takes it. */
interface Pair {
  readonly layer: Live;
  /** The addition that has a MatMul's bias. */
  readonly sum?: Live;
  readonly before: boolean;
  /** What becomes of the nodes. */
  place(biasName: string, weightName: string): void;
}

type Attempt = Pair | { readonly reason: string };

class Folding {
  readonly graph: FoldGraph;
  readonly #norms: ReadonlyMap<Live, OnnxNorm>;
  readonly #isStrict: boolean;
  readonly #kept = new Map<Live, string>();
  readonly folded: {
    readonly norm: OnnxNorm;
    readonly into: Live;
    readonly before: boolean;
    readonly channels: number;
    /** Weights whose values a caller may replace. */
    readonly defaults: readonly string[];
  }[] = [];
  /**
   * Values that may still be looked at: a model that names the same large weights time after time
   * is not gone through for ever.
   */
  #left: number;

  constructor(graph: FoldGraph, norms: readonly OnnxNorm[], isStrict: boolean) {
    this.graph = graph;
    this.#norms = new Map(norms.map((norm) => [graph.liveOf(norm.node), norm]));
    this.#isStrict = isStrict;
    this.#left = 4 * graph.base.model.size + 1e6;
  }

  /**
   * What has been folded may be folded into again: a norm that stays is tried anew when the layer
   * beside it changes.
   */
  run(): void {
    const open = [...this.#norms.keys()];
    for (let i = 0; i < open.length; i++) {
      const live = open[i];
      if (live.gone || !this.#norms.has(live) || live.op !== 'BatchNormalization') continue;
      const result = this.#fold(live, this.#norms.get(live)!);
      if ('reason' in result) {
        this.#kept.set(live, result.reason);
        continue;
      }
      this.#kept.delete(live);
      for (const neighbour of this.graph.neighbours(result.layer, result.sum))
        if (this.#kept.delete(neighbour)) open.push(neighbour);
    }
  }

  kept(): { norm: string; reason: string }[] {
    const own = [...this.#norms].flatMap(([live, { name }]) => {
      const reason = this.#kept.get(live);
      return reason === undefined ? [] : [{ norm: name, reason }];
    });
    return [...own, ...strangeBatchNorms(this.graph.base.model)];
  }

  /** What was taken for granted: that nobody gives other values for inputs that have some. */
  assumed(): string[] {
    return this.folded.flatMap(({ norm: { name }, defaults: [first, ...others] }) =>
      first === undefined
        ? []
        : [
            `${name}: nobody gives other values for ${[first, ...others].join(', ')}, ${others.length ? 'inputs' : 'an input'} of the model`,
          ],
    );
  }

  reports(): FoldedNorm[] {
    return this.folded.map(({ norm, into: { node, layer }, before, channels, defaults }) => {
      const [name, into, eps] = [norm.name, node.name || node.outputs[0], norm.options.eps!];
      const { rounding } = layer!;
      const report: FoldedNorm = { norm: name, into, side: before ? 'before' : 'behind', channels, eps, rounding };
      return defaults.length ? { assumed: ['inputs'], ...report } : report;
    });
  }

  #fold(live: Live, norm: OnnxNorm): Attempt {
    if (norm.problem) return { reason: norm.problem };
    if (norm.training) return { reason: 'it is in training mode' };
    const { constants } = this.graph.base;
    for (const name of Object.values(norm.inputs))
      if (!constants.has(name)) return { reason: `${name || 'an input'} is no constant` };
    const values = (name: keyof OnnxNorm['inputs']) => constants.get(norm.inputs[name])!;
    this.#left -= 4 * sizeOf(values('runningVar').shape);
    if (this.#left < 0) return { reason: 'the model names the same weights too often' };
    let map: Affine;
    try {
      map = affineOf(FORMAT, {
        mean: values('runningMean').data,
        variance: values('runningVar').data,
        gamma: values('gamma').data,
        beta: values('beta').data,
        eps: norm.options.eps!,
      });
    } catch (error) {
      return { reason: reasonOf(error) };
    }
    const back = this.#take(live, norm, map, this.#behind(live));
    if (!('reason' in back)) return back;
    const forward = this.#take(live, norm, map, this.#before(live));
    return 'reason' in forward ? { reason: `${back.reason}; ${forward.reason}` } : forward;
  }

  /** The layer before a norm, which the norm stands behind. */
  #behind(live: Live): Attempt {
    const { graph } = this;
    const [value] = live.inputs;
    const [output] = live.outputs;
    const layer = graph.producerOf(value);
    if (!layer) return { reason: 'no node before it' };
    if (graph.uses(value) !== 1) return { reason: 'its input is used elsewhere' };
    if (layer.op === 'Add' && layer.node.domain === '') return this.#behindSum(live, layer);
    if (!isLayer(layer)) return { reason: `${layer.op} before it` };
    // MatMul has no bias: the norm's place is taken by an addition
    if (layer.op === 'MatMul') {
      if (graph.rankOf(value) !== 2) return { reason: OTHER_AXIS };
      const place = (biasName: string, weightName: string) => {
        live.op = 'Add';
        graph.rewire(live, [value, biasName], [output]);
        if (layer.inputs[1] !== weightName) graph.rewire(layer, [layer.inputs[0], weightName], layer.outputs);
      };
      return { layer, sum: live, before: false, place };
    }
    const place = (biasName: string, weightName: string) => {
      graph.remove(live);
      graph.rewire(layer, [layer.inputs[0], weightName, biasName], [output]);
    };
    return { layer, before: false, place };
  }

  /** A layer without a bias and Add, as TensorFlow's and Paddle's exporters write them. */
  #behindSum(live: Live, sum: Live): Attempt {
    const { graph } = this;
    if (sum.inputs.length !== 2) return { reason: 'Add before it' };
    const [product, bias] = graph.shapeOf(sum.inputs[0]) ? [sum.inputs[1], sum.inputs[0]] : sum.inputs;
    const layer = graph.producerOf(product);
    const shape = graph.shapeOf(bias);
    if (!layer || !isLayer(layer) || layer.inputs[2] || !shape) return { reason: 'Add before it' };
    if (graph.uses(product) !== 1) return { reason: 'the product before it is used elsewhere' };
    if (layer.op === 'MatMul' && graph.rankOf(product) !== 2) return { reason: OTHER_AXIS };
    if (layer.op === 'MatMul' || layer.op === 'Gemm') {
      if (shape.length > 2) return { reason: 'Add before it, of more axes' };
    } else if (
      layer.op !== 'Gemm' &&
      !isByChannel(shape, this.graph.base.constants.get(layer.inputs[1])?.shape.length ?? 0)
    ) {
      return { reason: 'Add before it, of something else than a bias' };
    }
    const place = (biasName: string, weightName: string) => {
      graph.remove(live);
      graph.rewire(sum, [product, biasName], [live.outputs[0]]);
      if (layer.inputs[1] !== weightName) graph.rewire(layer, [layer.inputs[0], weightName], layer.outputs);
    };
    return { layer, sum, before: false, place };
  }

  /** The layer behind a norm, which the norm stands before. */
  #before(live: Live): Attempt {
    const { graph } = this;
    const [value] = live.outputs;
    if (graph.uses(value) !== 1) return { reason: 'its output is used elsewhere' };
    const layer = graph.takerOf(value);
    if (!layer || layer.inputs[0] !== value || !isLayer(layer)) return { reason: 'no layer behind it' };
    if (layer.op === 'MatMul') return { reason: 'a MatMul behind it, which has no bias' };
    const place = (biasName: string, weightName: string) => {
      const [input] = live.inputs;
      graph.rewire(layer, [input, weightName, ...(layer.sum ? [] : [biasName])], layer.outputs);
      graph.remove(live);
    };
    return { layer, sum: layer.sum, before: true, place };
  }

  /** Folds one pair, if that changes nothing but rounding and takes no room. */
  #take(live: Live, norm: OnnxNorm, map: Affine, pair: Attempt): Attempt {
    if ('reason' in pair) return pair;
    const { graph } = this;
    const { layer: node, sum, before } = pair;
    const started = this.#layerOf(node, sum, live);
    if ('reason' in started) return started;
    const { layer, weightName, biasName } = started;
    this.#left -= sizeOf(layer.weight.shape);
    if (this.#left < 0) return { reason: 'the model names the same weights too often' };
    let scales: FoldedScales;
    try {
      scales = layer.with(map, before);
    } catch (error) {
      return { reason: reasonOf(error) };
    }
    if (this.#isStrict && graph.growth(live, biasName, layer) > 0) return { reason: LARGER };
    layer.set(scales);
    const isNew = node.layer === undefined;
    node.layer = layer;
    node.sum = sum;
    const { shape } = layer.weight;
    const weights = { layer, isBias: false, shape };
    const ones = sum && node.op !== 'MatMul' ? shape.slice(2).map(() => 1) : [];
    const biases = { layer, isBias: true, shape: [layer.outChannels, ...ones] };
    const fresh = biasName ? `${biasName}.folded` : `${weightName}.folded_bias`;
    const newWeight = isNew ? graph.store(weightName, `${weightName}.folded`, weights) : weightName;
    const newBias = isNew ? graph.store(biasName, fresh, biases) : biasName!;
    const defaults = this.#defaultsIn([weightName, biasName, ...live.inputs.slice(1)]);
    pair.place(newBias, newWeight);
    this.folded.push({ norm, into: node, before, channels: map.scale.length, defaults });
    return pair;
  }

  /** The inputs of the model among what some constants are made of. */
  #defaultsIn(names: readonly (string | undefined)[]): readonly string[] {
    const { constants, producers, model } = this.graph.base;
    if (model.irVersion < 4 || model.defaults.size === 0) return NONE;
    const open = [...names];
    const seen = new Set<string>();
    while (open.length) {
      const name = open.pop();
      if (!name || seen.has(name) || !constants.has(name)) continue;
      seen.add(name);
      for (const input of producers.get(name)?.inputs ?? []) open.push(input);
    }
    return [...seen].filter((name) => model.defaults.has(name));
  }

  /** What is folded into: as it was begun, or begun now. */
  #layerOf(
    node: Live,
    sum: Live | undefined,
    norm: Live,
  ): { layer: FoldedLayer; weightName: string; biasName: string | undefined } | { reason: string } {
    const { graph } = this;
    const { constants } = graph.base;
    const [, weightName] = node.inputs;
    const own = sum && sum !== norm ? sum.inputs.find((name) => graph.shapeOf(name)) : undefined;
    const biasName = (sum ? own : node.inputs[2]) || undefined;
    if (node.layer) return { layer: node.layer, weightName, biasName };
    const weight: Constant | undefined = constants.get(weightName);
    const bias = biasName ? constants.get(biasName) : undefined;
    if (!weight || (biasName && !bias)) return { reason: `the weights of ${node.op} are no constants` };
    const number = (name: string, standard: number) =>
      (node.node.attributes.get(name) as number | undefined) ?? standard;
    if (node.op === 'Gemm' && (number('beta', 1) !== 1 || number('alpha', 1) !== 1 || number('transA', 0) !== 0)) {
      return { reason: 'a Gemm with alpha, beta or transA' };
    }
    const isLinear = node.op === 'Gemm' || node.op === 'MatMul';
    const oneRow = bias === undefined || !isLinear || bias.shape.slice(0, -1).every((length) => length === 1);
    if (weight.shape.length < 2 || (isLinear && weight.shape.length !== 2) || !oneRow) {
      return { reason: `weights of ${node.op} of another rank` };
    }
    if (!isFoldable(weight.dtype)) return { reason: `weights of type ${weight.dtype}` };
    try {
      const layer = new FoldedLayer(node.node, weight, bias?.data);
      // shared weights would be there twice
      if (graph.freed(weightName) < layer.byteLength)
        return {
          reason: `the weights ${weightName} are used elsewhere or stored in fewer bytes: a folded copy would make the file larger`,
        };
      return { layer, weightName, biasName };
    } catch (error) {
      return { reason: reasonOf(error) };
    }
  }
}

function isLayer({ op, node }: Live): boolean {
  return LAYERS.includes(op) && node.domain === '';
}

/** Does a tensor have one value for each channel of a value of some rank, or one for all? */
function isByChannel(shape: readonly number[], rank: number): boolean {
  const all = [...Array<number>(Math.max(rank - shape.length, 0)).fill(1), ...shape];
  return all.length === rank && all.every((length, axis) => axis === 1 || length === 1);
}

/** What stands in the way of a fold. Throws what is no reason. */
function reasonOf(error: unknown): string {
  if (!['ERR_FOLD', 'ERR_SHAPE', 'ERR_OPTION'].includes((error as EvenkeelError).code)) throw error;
  return (error as Error).message;
}

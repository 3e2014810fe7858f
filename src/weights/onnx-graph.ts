// An ONNX model as a graph: who gives a value, who takes it, what is constant, what layers are
// called. Worked out once for a model.

import { malformed } from '../errors.ts';
import type { OnnxModel, OnnxNode } from '../formats/onnx.ts';
import { type Constants, constantsOf, type Shape } from './onnx-constants.ts';
import { commonName, labelOf, layerName } from './onnx-names.ts';
import { shapesOf } from './onnx-shapes.ts';

export interface Graph {
  readonly model: OnnxModel;
  readonly constants: Constants;
  readonly shapes: ReadonlyMap<string, Shape>;
  /** The node that gives a value. */
  readonly producers: ReadonlyMap<string, OnnxNode>;
  /**
   * The nodes that take a value, each as often as it does; graphs inside nodes take values as well.
   */
  readonly takers: Takers;
  /**
   * Names of layers with weights: no two nodes have the same, unless they have the same weights.
   */
  readonly names: ReadonlyMap<OnnxNode, string>;
}

/**
 * Nodes by the values that they take. Most values have one taker: a list for each would cost as
 * much as the node.
 */
export class Takers {
  readonly #nodes = new Map<string, OnnxNode | OnnxNode[]>();

  add(name: string, node: OnnxNode): void {
    const known = this.#nodes.get(name);
    if (Array.isArray(known)) known.push(node);
    else this.#nodes.set(name, known ? [known, node] : node);
  }

  get(name: string): readonly OnnxNode[] | undefined {
    const known = this.#nodes.get(name);
    return known && (Array.isArray(known) ? known : [known]);
  }

  keys(): Iterable<string> {
    return this.#nodes.keys();
  }
}

const graphs = /* @__PURE__ */ new WeakMap<OnnxModel, Graph>();

export function graphFor(model: OnnxModel): Graph {
  const known = graphs.get(model);
  if (known) return known;
  const constants = constantsOf(model);
  const producers = new Map<string, OnnxNode>();
  const takers = new Takers();
  for (const node of model.nodes) {
    for (const name of node.outputs) if (name !== '') producers.set(name, node);
    for (const names of [node.inputs, node.captured]) {
      for (const name of names) if (name !== '') takers.add(name, node);
    }
  }
  const shapes = shapesOf(model, constants);
  const graph = { model, constants, shapes, producers, takers, names: namesOf(model, producers) };
  graphs.set(model, graph);
  return graph;
}

/** Operators with weights, and the inputs whose names say the layer's. */
const NAMED: Readonly<Record<string, readonly number[]>> = {
  BatchNormalization: [1, 2, 3, 4],
  LayerNormalization: [1, 2],
  RMSNormalization: [1],
  InstanceNormalization: [1, 2],
  GroupNormalization: [1, 2],
  MeanVarianceNormalization: [],
  Gemm: [1],
  MatMul: [1],
  Conv: [1],
  ConvTranspose: [1],
  PRelu: [1],
};

/** The tensor that a constant was made of: a weight keeps its name behind a Transpose. */
export function originOf(producers: ReadonlyMap<string, OnnxNode>, name: string): string {
  let at = name;
  for (let steps = 0; steps < 32; steps++) {
    if (layerName(at) !== undefined) return at;
    const next = producers.get(at)?.inputs[0];
    if (next === undefined) return at;
    at = next;
  }
  return at;
}

const weightsOf = ({ op, inputs }: OnnxNode) => NAMED[op].map((i) => inputs[i]).filter((name) => name);

function namesOf(model: OnnxModel, producers: ReadonlyMap<string, OnnxNode>): Map<OnnxNode, string> {
  const names = new Map<OnnxNode, string>();
  const taken = new Map<string, OnnxNode>();
  const counts = new Map<string, number>();
  for (const node of model.nodes) {
    if (node.domain !== '' || !Object.hasOwn(NAMED, node.op)) continue;
    const weights = weightsOf(node);
    const common = commonName(weights.map((name) => originOf(producers, name)));
    const candidates = [common, node.name, node.outputs[0], common ?? labelOf(node)];
    const isFree = (name: string) => {
      const other = taken.get(name);
      return (
        !other || (weights.length > 0 && other.op === node.op && weightsOf(other).join('\0') === weights.join('\0'))
      );
    };
    let name = candidates.find((candidate) => candidate && isFree(candidate));
    while (name === undefined) {
      const base = candidates[3]!;
      const count = (counts.get(base) ?? 1) + 1;
      counts.set(base, count);
      if (isFree(`${base}.${count}`)) name = `${base}.${count}`;
    }
    taken.set(name, node);
    names.set(node, name);
  }
  return names;
}

/**
 * Before version 7 operators meant something else: BatchNormalization was in training mode unless
 * it said otherwise, Add had axes.
 *
 * @throws ERR_FORMAT
 */
export function checkOpset({ opset }: OnnxModel): void {
  if (opset >= 7) return;
  const way = 'onnx.version_converter.convert_version(model, 13) writes one';
  throw malformed('ONNX', 'opset_import', `version 7 or later of the operators (${way})`, `${opset}`, 0);
}

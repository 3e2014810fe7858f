// From what layers do in evaluation to as few steps as possible. An affine map (batch norm) goes into the linear layer before it, or else the one
// behind it; maps in a row become one; a residual is added by the step that makes what it is added to; an activation joins the step before it.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { AffineStage, LinearStage, Stage } from '../layers/layer.ts';
import type { Step } from './program.ts';

/** A linear layer in f64: folding rounds once, at the end. */
type Linear = Omit<LinearStage, 'weight' | 'bias'> & { weight: Float64Array; bias: Float64Array | null };
type Affine = Omit<AffineStage, 'scale' | 'shift'> & { scale: Float64Array; shift: Float64Array };

/** A step in the making. Its input is the value of another, or null: the network's. */
export interface Node {
  operation: Linear | Affine | { readonly kind: 'elementwise' };
  x: Node | null;
  add: Node | null | undefined;
  activation: ActivationCode;
  /** The layers in it. */
  readonly sources: string[];
  /** Why an affine map was not folded. */
  kept?: string;
}

/** What became of a network. */
export interface Optimized {
  /** In the order of execution. */
  readonly nodes: readonly Node[];
  /** Layers that do nothing in evaluation. */
  readonly dropped: readonly string[];
}

/** @param flat for inputs of rank 2, where channels first and last are the same axis */
export function optimize(stages: readonly Stage[], flat: boolean): Optimized {
  const nodes: Node[] = [];
  const dropped: string[] = [];
  let output = unfold(stages, null, nodes, dropped);
  const users = (node: Node) =>
    nodes.reduce((sum, { x, add }) => sum + (x === node ? 1 : 0) + (add === node ? 1 : 0), output === node ? 1 : 0);
  /** Puts `by` in the place of a node. */
  const replace = (node: Node, by: Node | null) => {
    for (const other of nodes) {
      if (other.x === node) other.x = by;
      if (other.add === node) other.add = by;
    }
    if (output === node) output = by;
    nodes.splice(nodes.indexOf(node), 1);
  };

  for (const node of [...nodes]) {
    if (node.operation.kind !== 'affine') continue;
    node.kept = foldBack(node as Node & { operation: Affine }, flat, users);
    if (node.kept) continue;
    (node.x as Node).sources.push(...node.sources);
    replace(node, node.x);
  }
  for (const node of [...nodes]) {
    if (node.operation.kind !== 'affine' || !nodes.includes(node)) continue;
    const next = nodes.find(({ x }) => x === node);
    const kept = foldForward(node as Node & { operation: Affine }, next, flat, users);
    if (kept) node.kept = `${node.kept}; ${kept}`;
    else {
      next!.sources.unshift(...node.sources);
      replace(node, node.x);
    }
  }
  for (const node of [...nodes]) {
    // x + branch(x): the step that ends the branch adds x
    const { x: branch, add } = node;
    if (add === undefined || !branch || users(branch) > 1 || branch.add !== undefined) continue;
    if (branch.activation.kind || branch.operation.kind === 'elementwise') continue;
    branch.add = add;
    branch.sources.push(...node.sources);
    replace(node, branch);
  }
  for (const node of [...nodes]) {
    const { x, operation, add, activation } = node;
    if (operation.kind !== 'elementwise' || add !== undefined || !x || users(x) > 1 || x.activation.kind) continue;
    x.activation = activation;
    x.sources.push(...node.sources);
    replace(node, x);
  }
  return { nodes, dropped };
}

/** Stages as nodes, one after another; returns the one whose value is theirs. */
function unfold(stages: readonly Stage[], input: Node | null, nodes: Node[], dropped: string[]): Node | null {
  let last = input;
  const append = (node: Omit<Node, 'x' | 'sources'>, stage: Stage, x = last) => {
    last = { ...node, x, sources: stage.source ? [stage.source] : [] };
    nodes.push(last);
  };
  for (const stage of stages) {
    if (stage.kind === 'nothing') dropped.push(stage.source ?? 'a layer');
    else if (stage.kind === 'activation') {
      append({ operation: { kind: 'elementwise' }, add: undefined, activation: stage.activation }, stage);
    } else if (stage.kind === 'residual') {
      const skip = last;
      const branch = unfold(stage.branch, skip, nodes, dropped);
      append({ operation: { kind: 'elementwise' }, add: skip, activation: NO_ACTIVATION }, stage, branch);
    } else append({ operation: copyOf(stage), add: undefined, activation: NO_ACTIVATION }, stage);
  }
  return last;
}

function copyOf(stage: LinearStage | AffineStage): Linear | Affine {
  if (stage.kind === 'linear') {
    return { ...stage, weight: Float64Array.from(stage.weight), bias: stage.bias && Float64Array.from(stage.bias) };
  }
  return { ...stage, scale: Float64Array.from(stage.scale), shift: Float64Array.from(stage.shift) };
}

/** Is the axis that a norm scales the one that a linear layer reads or writes? */
function sameAxis({ layout, ranks }: Affine, flat: boolean): boolean {
  return flat ? ranks[0] <= 2 : layout === 'channels-last';
}

/** Folds a map into the step before it: y = (W·x + b − center)·scale + shift. Returns why not, where it cannot. */
function foldBack(
  { operation, x }: Node & { operation: Affine },
  flat: boolean,
  users: (node: Node) => number,
): string | undefined {
  if (!x) return 'nothing before it';
  const { center, scale, shift } = operation;
  const before = x.operation;
  if (before.kind === 'elementwise') return x.add !== undefined ? 'a residual before it' : 'an activation before it';
  if (users(x) > 1) return 'its input is used elsewhere';
  if (before.kind === 'affine') {
    if (before.layout !== operation.layout || before.scale.length !== scale.length)
      return 'a map of another axis before it';
    x.operation = {
      ...before,
      ...composed(before, operation),
      ranks: [Math.max(before.ranks[0], operation.ranks[0]), Math.min(before.ranks[1], operation.ranks[1])],
    };
    return undefined;
  }
  const { outFeatures, inFeatures, weight, bias } = before;
  if (!sameAxis(operation, flat) || outFeatures !== scale.length) return 'a linear layer of another axis before it';
  const folded = weight.map((value, i) => value * scale[Math.floor(i / inFeatures)]);
  const sums = Float64Array.from(scale, (value, o) => ((bias ? bias[o] : 0) - center[o]) * value + shift[o]);
  return setWeights(before, folded, sums);
}

/** A mean so many (scaled) deviations from 0 costs a product that takes it away as many times its rounding. */
const FAR = 64;

/** Folds a map into the linear layer behind it: y = W·((x − center)·scale + shift) + b. Returns why not, where it cannot. */
function foldForward(
  node: Node & { operation: Affine },
  next: Node | undefined,
  flat: boolean,
  users: (node: Node) => number,
): string | undefined {
  const { center, scale, shift } = node.operation;
  if (!next) return 'nothing behind it';
  if (users(node) > 1) return 'its output is used elsewhere';
  const behind = next.operation;
  if (behind.kind !== 'linear')
    return behind.kind === 'affine' ? 'a map of another axis behind it' : 'no linear layer behind it';
  const { weight, bias, inFeatures, outFeatures } = behind;
  if (!sameAxis(node.operation, flat) || inFeatures !== scale.length) return 'a linear layer of another axis behind it';
  if (Array.prototype.some.call(center, (value, c) => Math.abs(value * scale[c]) > FAR)) {
    return `a mean of more than ${FAR} deviations, which a product would cancel`;
  }
  const sums = Float64Array.from({ length: outFeatures }, (_, o) => (bias ? bias[o] : 0));
  weight.forEach((value, i) => {
    const c = i % inFeatures;
    sums[Math.floor(i / inFeatures)] += value * (shift[c] - center[c] * scale[c]);
  });
  return setWeights(
    behind,
    weight.map((value, i) => value * scale[i % inFeatures]),
    sums,
  );
}

/**
 * ((x − c₁)·s₁ + t₁ − c₂)·s₂ + t₂ as one map, around the value of which the second norm makes 0:
 * where one of them has a centre, so has the whole.
 */
function composed(first: Affine, second: Affine): Pick<Affine, 'center' | 'scale' | 'shift'> {
  const center = Float64Array.from(first.center, (h, c) => {
    const [s, root] = [first.scale[c], h + (second.center[c] - first.shift[c]) / first.scale[c]];
    return (h || second.center[c]) && s && Number.isFinite(Math.fround(root)) ? Math.fround(root) : h;
  });
  const at = (x: number, c: number) => (x - first.center[c]) * first.scale[c] + first.shift[c] - second.center[c];
  return {
    center,
    scale: first.scale.map((value, c) => value * second.scale[c]),
    shift: second.shift.map((value, c) => at(center[c], c) * second.scale[c] + value),
  };
}

/** Gives a layer folded weights, unless they are beyond f32 where the layers by themselves are not. Returns why not. */
function setWeights(layer: Linear, weight: Float64Array, bias: Float64Array): string | undefined {
  const held = (values: Float64Array) => values.every((value) => Number.isFinite(Math.fround(value)));
  if (!held(weight) || !held(bias)) return 'folded weights beyond f32';
  layer.weight = weight;
  layer.bias = bias;
  return undefined;
}

/** Nodes as steps of a program: values numbered, weights rounded to f32. */
export function stepsOf(nodes: readonly Node[]): Step[] {
  const numberOf = (node: Node | null) => (node ? nodes.indexOf(node) + 1 : 0);
  return nodes.map(({ operation, x, add, activation }) => ({
    operation: rounded(operation),
    x: numberOf(x),
    add: add === undefined ? -1 : numberOf(add),
    activation,
  }));
}

function rounded(operation: Node['operation']): Step['operation'] {
  if (operation.kind === 'elementwise') return operation;
  if (operation.kind === 'affine') {
    const { layout, ranks, center, scale, shift } = operation;
    return {
      kind: 'affine',
      layout,
      ranks,
      center: Array.prototype.some.call(center, (value) => value !== 0) ? Float32Array.from(center) : null,
      scale: Float32Array.from(scale),
      shift: Float32Array.from(shift),
    };
  }
  const { inFeatures, outFeatures, weight, bias } = operation;
  return {
    kind: 'linear',
    inFeatures,
    outFeatures,
    weight: Float32Array.from(weight),
    bias: bias && Float32Array.from(bias),
  };
}

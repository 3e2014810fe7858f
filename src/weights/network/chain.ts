// A draft as layers in a row, where it is one. What is no layer of its own becomes layers:
// constants that are added and multiplied are a batch norm of variance 1, bounds a moved ReLU.

import { malformed, show } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import type { UnaryOperation } from '../../graph/operations/unary.ts';
import type { Activation } from '../../kernels/activations.ts';
import type { Layer } from '../../layers/layer.ts';
import { ActivationLayer } from '../../nn/activations.ts';
import { Linear } from '../../nn/linear.ts';
import { Sequential } from '../../nn/sequential.ts';
import { LogSoftmax, Softmax } from '../../nn/softmax.ts';
import { countOf } from '../../tensors/shape.ts';
import { AffineRun, type Factor } from './affine-run.ts';
import type { DraftNode, Flow } from './draft.ts';
import type { NetworkReport, Read } from './loaded-network.ts';
import { floats, loaded } from './onnx-layers.ts';

/**
 * The chain that a file's network is, in evaluation mode.
 *
 * @throws ERR_FORMAT where it is none
 */
export function chainOf(read: Read, dropSoftmax: boolean): LoadedSequential {
  const report = { trainable: true, reason: null, ...read.report };
  return Object.assign(new Chain(read).build(dropSoftmax), { report });
}

/** The layers of a file in a row, which `loadSequential` returns. */
export type LoadedSequential = Sequential & {
  /** What became of the file. A chain can always be trained. */
  readonly report: NetworkReport;
};

/** What a node is by its name: a layer's subject without its sizes, or an operation's kind. */
function kindOf({ layer, operation, compiled }: DraftNode): string {
  if (layer) return layer.subject.replace(/\(.*/, '');
  const { of } = (compiled ?? {}) as { of?: unknown };
  return typeof of === 'string' ? of : (compiled?.kind ?? operation!.name);
}

const isUnary = (node: DraftNode) => node.compiled?.kind === 'unary';

/** Functions of one value that are a layer between multiplications and additions. */
const SPREAD = ['neg', 'clip', 'selu', 'hard-sigmoid'];

class Chain {
  readonly #read: Read;
  readonly #nodes: readonly DraftNode[];
  readonly #layers: Layer[] = [];
  #run = new AffineRun();
  #value: Flow;
  /** What the last constant was added or multiplied by. */
  #affineAt = '';

  constructor(read: Read) {
    this.#read = read;
    this.#nodes = read.draft.needed(read.outputs);
    [{ flow: this.#value } = {} as never] = read.draft.inputs;
  }

  build(dropSoftmax: boolean): Sequential {
    this.#check();
    this.#nodes.forEach((node, i) => {
      const isEnd = i === this.#nodes.length - 1;
      const isSoftmax = node.layer instanceof Softmax || node.layer instanceof LogSoftmax;
      if (!(dropSoftmax && isEnd && isSoftmax)) this.#append(node);
      this.#value = node.output;
    });
    this.#flush();
    return new Sequential(...this.#layers).eval();
  }

  #fail(where: string, expected: string, got: string): Error {
    return malformed(this.#read.format, where, expected, got, 0);
  }

  #failAt(node: DraftNode, expected: string, got: string): Error {
    return this.#fail(`${kindOf(node)} ${quote(node.name)}`, expected, got);
  }

  /** Says all that is in the way, not only the first. */
  #check(): void {
    const { draft, names, outputs, reasons } = this.#read;
    const inputs = draft.inputs.map(({ name }) => name);
    const ends = [
      ['input', inputs],
      ['output', names],
    ] as const;
    const many = ends.flatMap(([what, list]) =>
      list.length === 1 ? [] : [`${list.length} ${what}s${list.length ? ` (${some(list.map(quote))})` : ''}`],
    );
    const strange = new Map<string, string>();
    for (const node of this.#nodes) {
      const count = node.inputs.filter(({ known }) => !known).length;
      const kind = `${kindOf(node)}${count > 1 ? ` of ${count} values` : ''}`;
      if (!isLink(node) && !strange.has(kind)) strange.set(kind, `${kind} (${quote(node.name)})`);
    }
    if (many.length || strange.size) {
      const expected = `a chain of layers that there are here${many.length ? ', from one input to one output' : ''}`;
      throw this.#fail('graph', expected, [...many, ...(strange.size ? [some([...strange.values()])] : [])].join(', '));
    }
    if (reasons.length)
      throw this.#fail('graph', 'a chain of layers, each of which is called once', reasons.join('; '));
    let value = this.#value;
    for (const node of this.#nodes) {
      const given = node.inputs.filter((one) => !one.known);
      if (given.length !== 1 || given[0] !== value) {
        const before = value === this.#value ? 'the input' : 'what comes before it';
        throw this.#failAt(
          node,
          `${before} as its one input: a chain`,
          given.length > 1 ? `${given.length}` : 'another',
        );
      }
      value = node.output;
    }
    const [output] = outputs;
    if ((output.real ?? output) !== value)
      throw this.#fail('graph', 'the output at the end of the chain', quote(names[0]));
  }

  #append(node: DraftNode): void {
    const { layer, operation, compiled, inputs } = node;
    if (layer) {
      this.#push(layer);
      return;
    }
    if (compiled?.kind === 'unary') {
      this.#spread(node, compiled as UnaryOperation);
      return;
    }
    const isFirst = inputs[0].known !== undefined;
    const constant = inputs[isFirst ? 0 : 1];
    const kind = kindOf(node);
    if (kind === 'sub' && isFirst) this.#affine(node, -1, 'multiply');
    if (kind === 'sub') this.#affine(node, constant, 'add', isFirst ? undefined : (value) => -value);
    else if (kind === 'div') this.#affine(node, constant, 'multiply', (value) => 1 / value);
    else if (operation!.name === 'multiply') this.#affine(node, constant, 'multiply');
    else if (!this.#addBias(node, constant)) this.#affine(node, constant, 'add');
  }

  #push(layer: Layer): void {
    this.#flush();
    this.#layers.push(layer);
  }

  #activate(activation: Activation): void {
    this.#push(new ActivationLayer(activation));
  }

  /** Becomes the bias of the linear layer before it, where that has none. */
  #addBias({ inputs, output }: DraftNode, { known, shape }: Flow): boolean {
    const last = this.#layers.at(-1);
    const size = countOf(shape);
    if (!(last instanceof Linear) || last.bias || !this.#run.isIdentity || known === undefined) return false;
    const isRow = size === 1 || (size === last.outFeatures && shape.at(-1) === size);
    if (!isRow || output.shape.length !== inputs.find((one) => !one.known)!.shape.length) return false;
    const { weight } = last.stateDict();
    const bias = Float32Array.from({ length: last.outFeatures }, (_, o) => known.data[size === 1 ? 0 : o]);
    const linear = new Linear(last.inFeatures, last.outFeatures, { init: () => {} });
    this.#layers[this.#layers.length - 1] = loaded(linear as Layer, {
      weight: { data: floats(weight.data), shape: weight.shape },
      bias: { data: bias, shape: [last.outFeatures] },
    });
    return true;
  }

  #factor(node: DraftNode, { known, shape }: Flow): Factor {
    const x = this.#value.shape;
    const size = countOf(shape);
    const fail = (expected: string) => this.#failAt(node, expected, `shape ${show(shape)}`);
    // more axes than the value has would become the value's
    if (shape.length > x.length) throw fail(`a constant of at most ${x.length} axes`);
    if (size === 1) return known!.data[0];
    const at = shape.findIndex((length) => length !== 1);
    const axis = at - shape.length + x.length;
    const isOther = !Number.isNaN(x[axis]) && x[axis] !== size;
    if (shape[at] !== size || isOther || (axis !== 1 && axis !== x.length - 1) || axis === 0)
      throw fail('a constant for each place of one axis, that of the channels or the last one');
    return { values: known!.data, axis: axis === 1 ? 'channels' : 'last' };
  }

  #affine(node: DraftNode, given: Flow | number, by: 'add' | 'multiply', change = (value: number) => value): void {
    const factor = typeof given === 'number' ? given : this.#factor(node, given);
    this.#affineAt = node.name;
    if (!this.#run.takes(factor)) this.#flush();
    this.#run[by](
      typeof factor === 'number'
        ? change(factor)
        : { axis: factor.axis, values: Float64Array.from(factor.values, change) },
    );
  }

  /** What constants have been added and multiplied becomes a layer. */
  #flush(): void {
    const run = this.#run;
    this.#run = new AffineRun();
    if (run.isIdentity) return;
    const fail = (expected: string, got: string) => this.#fail(`node ${quote(this.#affineAt)}`, expected, got);
    if (!run.isFinite) throw fail('factors and summands that f32 holds', 'a division by 0, or larger ones');
    const layer = run.layer(this.#value.shape);
    if (!layer) throw fail('a known number of features', 'none');
    this.#layers.push(layer);
  }

  #spread(node: DraftNode, { of, a, b }: UnaryOperation): void {
    const add = (value: number) => value !== 0 && this.#affine(node, value, 'add');
    const multiply = (value: number) => value !== 1 && this.#affine(node, value, 'multiply');
    if (of === 'neg') multiply(-1);
    else if (of === 'selu') {
      // b·(x, or a·(exp(x) − 1))
      this.#activate({ name: 'elu', alpha: a });
      multiply(b);
    } else if (of === 'hard-sigmoid') {
      // ours is x/6 + 1/2 between 0 and 1: a·x + b is that of 6·(a·x + b − 1/2)
      multiply(6 * a);
      add(6 * (b - 0.5));
      this.#activate('hard-sigmoid');
    } else {
      // one bound: the other way round for the upper one
      if (Number.isFinite(a) === Number.isFinite(b)) throw this.#failAt(node, 'bounds in their order', `${a} and ${b}`);
      const [sign, bound] = Number.isFinite(a) ? [1, a] : [-1, -b];
      multiply(sign);
      add(-bound);
      this.#activate('relu');
      add(bound);
      multiply(sign);
    }
  }
}

/** Can a node be part of a chain? */
function isLink(node: DraftNode): boolean {
  if (node.layer) return true;
  if (isUnary(node)) return SPREAD.includes(kindOf(node));
  const isConstant = node.inputs.length === 2 && node.inputs.filter(({ known }) => known).length === 1;
  if (kindOf(node) === 'div') return isConstant && node.inputs[1].known !== undefined;
  return ['add', 'multiply', 'sub'].includes(kindOf(node)) && isConstant;
}

/** The first of a list, and how many more there are. */
function some(list: readonly string[]): string {
  return list.slice(0, 8).join(', ') + (list.length > 8 ? ` and ${list.length - 8} more` : '');
}

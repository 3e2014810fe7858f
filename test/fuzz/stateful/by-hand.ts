// A network against its layers one by one, bit for bit: forward and backward over plain arrays,
// as one would write it by hand.

import type { Layer, TensorLike } from '../../../src/index.ts';
import { Dice } from '../dice.ts';
import { type BackwardCall, type Call, countOf, type ForwardCall, valuesOf } from './calls.ts';
import type { Instance } from './instance.ts';
import { shapeOf } from './instance.ts';
import type { Expectation, Model } from './model.ts';
import { build, hasDropout, type Subject } from './subjects.ts';
import { firstOther } from './truth.ts';

type Plain = { data: Float32Array; shape: number[] };

/** A layer, or layers in a row, or around which there is a way. */
interface Node {
  readonly layer?: Layer;
  readonly inside?: readonly Node[];
  readonly around?: boolean;
}

function nodeOf(subject: Subject): Node {
  const inside = subject.layers?.map(nodeOf);
  return inside ? { inside, around: subject.kind === 'Residual' } : { layer: build(subject) };
}

const leavesOf = ({ layer, inside }: Node): Layer[] => (layer ? [layer] : inside!.flatMap(leavesOf));

const plain = (x: TensorLike): Plain => ({ data: x.data, shape: [...shapeOf(x)] });

const sum = (a: Plain, b: Plain): Plain => ({
  data: a.data.map((value, i) => Math.fround(value + b.data[i])),
  shape: a.shape,
});

function forward({ layer, inside, around }: Node, x: Plain): Plain {
  if (layer) return plain(layer.forward(x));
  const y = inside!.reduce((value, node) => forward(node, value), x);
  return around ? sum(y, x) : y;
}

function backward({ layer, inside, around }: Node, dy: Plain): Plain {
  if (layer) return plain(layer.backward(dy));
  const dx = inside!.reduceRight((value, node) => backward(node, value), dy);
  return around ? sum(dx, dy) : dx;
}

export class ByHand implements Model {
  readonly #subject: Subject;
  readonly #node: Node;
  readonly #leaves: Layer[];
  /** The last forward: not there, known, or only the twin can judge its backward. */
  #saved: 'none' | 'known' | 'unsure' = 'none';
  #disposed = false;
  /** Dropout has gone another way. */
  #apart = false;
  #shape: readonly number[] = [];

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#node = nodeOf(subject);
    this.#leaves = leavesOf(this.#node);
  }

  expect(call: Call, instance: Instance): Expectation | undefined {
    switch (call.do) {
      case 'forward':
        return this.#forward(call, instance);
      case 'backward':
        return this.#backward(call, instance);
      case 'train':
      case 'eval':
        for (const leaf of this.#leaves) leaf[call.do]();
        return {};
      case 'micro':
      case 'microBack':
        // judged by the twin and by the norms' own sequences; layers by hand go on from what came
        // of it
        return { unsure: true, note: () => this.#follow(instance, 'unsure', true) };
      case 'compile':
        return this.#compile(call);
      case 'zeroGrad':
      case 'load':
      case 'write':
      case 'step':
        return { note: () => this.#follow(instance, this.#saved === 'none' ? 'none' : 'unsure') };
      case 'dispose':
        return {
          note: () => {
            for (const leaf of this.#leaves) leaf.dispose();
            this.#saved = 'none';
          },
        };
      case 'disposeX':
        return {
          note: () => {
            if (this.#saved !== 'none' && instance.last && 'disposed' in instance.last.x) this.#disposed = true;
          },
        };
      default:
        return {};
    }
  }

  /** Takes over what the network has; masks of dropout are not to be had. */
  #follow({ layer }: Instance, saved: 'none' | 'unsure', isMicro = false): void {
    if (isMicro && hasDropout(this.#subject)) this.#apart = true;
    const leaves = layer.named().map(([, leaf]) => leaf);
    this.#leaves.forEach((leaf, i) => {
      leaf.loadStateDict(leaves[i].stateDict());
      for (const [p, { grad }] of leaf.parameters().entries()) grad.set(leaves[i].parameters()[p].grad);
    });
    this.#saved = saved;
  }

  #forward(call: ForwardCall, instance: Instance): Expectation {
    if (instance.repeats(call) && 'disposed' in instance.last!.x && instance.last!.x.disposed)
      return { codes: ['ERR_DISPOSED'] };
    if (this.#apart) return { unsure: true, note: () => this.#follow(instance, 'unsure') };
    const data = valuesOf(this.#subject, call.shape, call.values, call.seed);
    const back = this.#leaves.map((leaf) => leaf.checkpoint());
    let y: Plain;
    try {
      y = forward(this.#node, { data, shape: [...call.shape] });
    } catch (error) {
      for (const restore of back) restore?.();
      // layers by hand have lost their last forward, the network has not
      const note = () => {
        if (this.#saved === 'known') this.#saved = 'unsure';
      };
      // a network looks for single values before it runs the first layer
      return { codes: [(error as { code: string }).code, 'ERR_SINGLE_VALUE'], note };
    }
    return {
      check: ({ outputs }) => {
        const other = firstOther(outputs![0], y.data, true);
        return other ? `y${other}` : this.#differences(instance);
      },
      note: () => {
        this.#saved = 'known';
        this.#disposed = false;
        this.#shape = call.shape;
      },
    };
  }

  #backward(call: BackwardCall, instance: Instance): Expectation {
    if (this.#saved === 'none') return { codes: ['ERR_MODE'] };
    if (this.#saved === 'unsure') return { unsure: true, note: () => this.#follow(instance, 'unsure') };
    if (this.#disposed)
      return this.#needsX()
        ? { codes: ['ERR_DISPOSED'] }
        : { unsure: true, note: () => this.#follow(instance, 'unsure') };
    const shape = instance.layer.outputShape(this.#shape);
    const data = new Dice(call.seed).normals(countOf(shape));
    const dx = backward(this.#node, { data, shape: [...shape] });
    return {
      check: ({ outputs }) => {
        const other = call.parametersOnly ? undefined : firstOther(outputs![0], dx.data, true);
        return other ? `dx${other}` : this.#differences(instance);
      },
    };
  }

  /** Does the first layer need the network's input, or a way around? */
  #needsX(): boolean {
    let first: Subject | undefined = this.#subject;
    while (first?.layers) first = first.layers[0];
    return first !== undefined && first.kind !== 'Dropout' && this.#subject.layers![0].kind !== 'Residual';
  }

  dispose(): void {
    for (const leaf of this.#leaves) leaf.dispose();
  }

  #differences({ layer }: Instance): string | undefined {
    const leaves = layer.named().map(([, leaf]) => leaf);
    for (const [i, leaf] of this.#leaves.entries()) {
      const [mine, own] = [leaf.stateDict(), leaves[i].stateDict()];
      for (const name of Object.keys(mine)) {
        const other = firstOther(own[name].data as Float32Array, mine[name].data as Float32Array, true);
        if (other) return `${i}.${name}${other}`;
      }
      for (const [p, { grad }] of leaf.parameters().entries()) {
        const other = firstOther(leaves[i].parameters()[p].grad, grad, true);
        if (other) return `gradient ${p} of layer ${i}${other}`;
      }
    }
    return undefined;
  }

  /**
   * What its layers give in evaluation; or, as they do, an error where one value is behind a
   * statistic.
   */
  #compile({ seed }: Call & { seed: number }): Expectation {
    const shape = [3, this.#subject.channels];
    const modes = this.#leaves.map((leaf) => leaf.training);
    for (const leaf of this.#leaves) leaf.eval();
    let y: Float32Array;
    try {
      y = forward(this.#node, { data: new Dice(seed).normals(countOf(shape)), shape }).data;
    } catch (error) {
      return { codes: [(error as { code: string }).code] };
    } finally {
      for (const [i, leaf] of this.#leaves.entries()) leaf.train(modes[i]);
      this.#saved = this.#saved === 'none' ? 'none' : 'unsure';
    }
    return { check: ({ outputs, bound }) => differsFrom(y, outputs![0], bound!) };
  }
}

/**
 * @param bound what rounding may come to, by channel: statistics of nearly equal values enlarge it
 */
function differsFrom(y: Float32Array, compiled: Float32Array, bound: Float64Array): string | undefined {
  const most = y.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  if (!(most < 1e6)) return undefined; // statistics that stress no rounding in particular
  const allowed = (i: number) => Math.max(1e-3 * (1 + most), bound[i % bound.length]);
  const at = y.findIndex((value, i) => !(Math.abs(value - compiled[i]) <= allowed(i)));
  return at < 0 ? undefined : `compiled output ${at} is ${compiled[at]} for ${y[at]}`;
}

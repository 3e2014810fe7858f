// Linear maps, activations and dropout, by their formulas in f64.

import type { Layer, Linear } from '../../../src/index.ts';
import { activate, activationCode, derivative } from '../../../src/kernels/activations.ts';
import { Dice } from '../dice.ts';
import { type BackwardCall, type Call, type ForwardCall, valuesOf } from './calls.ts';
import type { Instance } from './instance.ts';
import type { Expectation, Model } from './model.ts';
import type { Subject } from './subjects.ts';
import { firstWrong, STRICT, TINY, type Truth, truth } from './truth.ts';

interface Saved {
  readonly x: Float32Array;
  lost: boolean;
  disposed: boolean;
  stale: boolean;
}

/** What such models share: which calls must be refused. */
abstract class SmallModel implements Model {
  readonly subject: Subject;
  protected saved: Saved | undefined;
  #several = false;
  /** Does backward need the input? */
  protected readonly needsX: boolean = true;

  constructor(subject: Subject) {
    this.subject = subject;
  }

  expect(call: Call, instance: Instance): Expectation | undefined {
    switch (call.do) {
      case 'forward':
        return this.#forward(call, instance);
      case 'backward':
        return this.#backward(call, instance);
      case 'micro':
        return {
          unsure: true,
          note: () => {
            this.saved = undefined;
            this.#several = true;
          },
        };
      case 'microBack':
        return { unsure: true };
      case 'dispose':
        return {
          note: () => {
            this.saved = undefined;
            this.#several = false;
          },
        };
      case 'disposeX':
        return {
          note: () => {
            if (this.saved && instance.last && 'disposed' in instance.last.x) this.saved.disposed = true;
          },
        };
      case 'load':
      case 'write':
      case 'step':
        return {
          note: () => {
            if (this.saved) this.saved.stale = true;
          },
        };
      default:
        return {};
    }
  }

  #forward(call: ForwardCall, instance: Instance): Expectation {
    const again = instance.repeats(call);
    if (again && 'disposed' in instance.last!.x && instance.last!.x.disposed) return { codes: ['ERR_DISPOSED'] };
    const x = valuesOf(this.subject, call.shape, call.values, call.seed);
    const saved = { x, lost: this.needsX && x.length > 0 && call.out === 'x', disposed: false, stale: false };
    const y = this.output(x, call, instance.layer);
    return {
      check: ({ outputs }) => y(outputs![0]),
      note: () => {
        this.saved = saved;
        this.#several = false;
      },
    };
  }

  #backward(call: BackwardCall, instance: Instance): Expectation {
    if (this.#several) return { unsure: true };
    const { saved } = this;
    if (!saved || saved.lost) return { codes: ['ERR_MODE'] };
    if (saved.disposed && this.needsX) return { codes: ['ERR_DISPOSED'] };
    const note = () => {
      if (call.out === 'x' && this.needsX && saved.x.length > 0) saved.lost = true;
    };
    if (saved.stale) return { unsure: true, note };
    const dy = new Dice(call.seed).normals(this.outputs(saved.x.length));
    const check = this.gradient(saved.x, dy, instance.layer);
    return { check: ({ outputs }) => check(outputs![0]), note };
  }

  /** Values of an output for so many of an input. */
  protected outputs(size: number): number {
    return size;
  }

  protected abstract output(x: Float32Array, call: ForwardCall, layer: Layer): Check;
  protected abstract gradient(x: Float32Array, dy: Float32Array, layer: Layer): Check;
}

type Check = (got: Float32Array) => string | undefined;

const against =
  (one: Truth): Check =>
  (got) =>
    firstWrong(one, got);

export class ActivationModel extends SmallModel {
  get #code() {
    return activationCode('model', this.subject.args[0] as never);
  }

  protected output(x: Float32Array): Check {
    const y = truth('y', x.length);
    const { kind, alpha } = this.#code;
    for (let i = 0; i < x.length; i++) {
      y.values[i] = activate(kind, x[i], alpha);
      y.tolerance[i] = STRICT * (Math.abs(x[i]) + Math.abs(y.values[i]) + TINY);
    }
    return against(y);
  }

  protected gradient(x: Float32Array, dy: Float32Array): Check {
    const dx = truth('dx', x.length);
    const { kind, alpha } = this.#code;
    for (let i = 0; i < x.length; i++) {
      dx.values[i] = dy[i] * derivative(kind, x[i], alpha);
      dx.tolerance[i] = STRICT * Math.abs(dy[i]) * 2.2 + 8 * TINY;
    }
    return against(dx);
  }
}

export class DropoutModel extends SmallModel {
  protected override readonly needsX = false;
  /** By what each value was multiplied. */
  #factors: Float64Array | undefined;

  protected output(x: Float32Array, _: ForwardCall, layer: Layer): Check {
    const p = this.subject.args[0] as number;
    const scale = layer.training && p > 0 ? (p < 1 ? Math.fround(1 / (1 - p)) : 0) : 1;
    return (y) => {
      this.#factors = Float64Array.from(x, (value, i) => (value !== 0 && y[i] !== 0 ? scale : Number.NaN));
      const at = y.findIndex((value, i) => {
        const kept = Math.fround(x[i] * scale);
        return !(Object.is(value, kept) || (layer.training && p > 0 && value === 0) || value === kept);
      });
      return at < 0 ? undefined : `y[${at}] is ${y[at]} for ${x[at]} or 0`;
    };
  }

  protected gradient(_: Float32Array, dy: Float32Array): Check {
    return (dx) => {
      const at = dx.findIndex((value, i) => {
        const factor = this.#factors?.[i];
        return factor !== undefined && !Number.isNaN(factor) && value !== Math.fround(dy[i] * factor);
      });
      return at < 0 ? undefined : `dx[${at}] is ${dx[at]} for ${dy[at]} times ${this.#factors![at]}`;
    };
  }
}

export class LinearModel extends SmallModel {
  get #depth(): number {
    return this.subject.args[0] as number;
  }

  get #columns(): number {
    return this.subject.args[1] as number;
  }

  protected override outputs(size: number): number {
    return (size / this.#depth) * this.#columns;
  }

  protected output(x: Float32Array, _: ForwardCall, layer: Layer): Check {
    const [depth, columns] = [this.#depth, this.#columns];
    const { weight, bias } = layer.stateDict() as Record<string, { data: Float32Array }>;
    const rows = x.length / depth;
    const y = truth('y', rows * columns);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const [first, terms] = [bias?.data[c] ?? 0, depth];
        sumInto(y, r * columns + c, first, terms, (k) => x[r * depth + k] * weight.data[c * depth + k]);
      }
    }
    return against(y);
  }

  protected gradient(x: Float32Array, dy: Float32Array, layer: Layer): Check {
    const [depth, columns] = [this.#depth, this.#columns];
    const { weight, bias } = layer as Linear;
    const { data: w } = (layer.stateDict() as Record<string, { data: Float32Array }>).weight;
    const rows = x.length / depth;
    const dx = truth('dx', x.length);
    for (let r = 0; r < rows; r++)
      for (let k = 0; k < depth; k++)
        sumInto(dx, r * depth + k, 0, columns, (c) => dy[r * columns + c] * w[c * depth + k]);
    const dw = truth('weight.grad', depth * columns);
    const db = truth('bias.grad', columns);
    for (let c = 0; c < columns; c++) {
      if (bias) sumInto(db, c, bias.grad[c], rows, (r) => dy[r * columns + c]);
      for (let k = 0; k < depth; k++)
        sumInto(dw, c * depth + k, weight.grad[c * depth + k], rows, (r) => dy[r * columns + c] * x[r * depth + k]);
    }
    return (got) =>
      firstWrong(dx, got) ?? firstWrong(dw, weight.grad) ?? (bias ? firstWrong(db, bias.grad) : undefined);
  }
}

/** A sum of products, in f32 somewhere: rounding grows with the root of the terms. */
function sumInto(into: Truth, at: number, first: number, terms: number, term: (k: number) => number): void {
  let sum = first;
  let scale = Math.abs(first);
  for (let k = 0; k < terms; k++) {
    const value = term(k);
    sum += value;
    scale += Math.abs(value);
  }
  into.values[at] = sum;
  into.tolerance[at] = STRICT * Math.max(1, Math.sqrt(terms) / 4) * scale + 8 * TINY;
}

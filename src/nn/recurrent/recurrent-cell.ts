// What recurrent cells share as layers: options, weights, norms, state between pieces of sequences.

import { blaming, show, showShape, wrongMoment, wrongValue } from '../../errors.ts';
import { backend } from '../../kernels/backend.ts';
import type { Layer } from '../../layers/layer.ts';
import { LeafLayer, type Pass } from '../../layers/leaf-layer.ts';
import { checkFeatures } from '../../layers/options.ts';
import { gradientsOf, LearnedParameter } from '../../layers/parameter.ts';
import type { StateSlots } from '../../layers/state.ts';
import { notBuilt } from '../../layers/unbuilt.ts';
import type { Schema } from '../../named-options.ts';
import type { RunByRun } from '../../norms/engine/channel-engine.ts';
import type { StepPass } from '../../norms/engine/sequence-engine.ts';
import { RecurrentBatchNorm1d } from '../../norms/recurrent-batch-norm.ts';
import { readLengths } from '../../passes/mask.ts';
import { type Steps, stepsOf } from '../../passes/steps.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import { countOf, differs } from '../../tensors/shape.ts';
import type { Result, TensorLike } from '../../tensors/tensor.ts';
import { floatsOf } from '../../typed-arrays.ts';
import type { Parameter } from '../../types.ts';
import { torchUniform } from '../initializers.ts';
import { Random } from '../random.ts';
import type { CellKind } from './cell-kind.ts';
import { type Memory, memoryIn, releaseMemory } from './cell-memory.ts';
import {
  type RecurrentCellOptions,
  type RecurrentForwardOptions,
  type RecurrentState,
  readCellOptions,
} from './cell-options.ts';
import { type CellParts, type Left, runBackward, runForward, type States } from './cell-passes.ts';

const cellSubject = ({ name }: CellKind, inputSize: number | null, hiddenSize: number) =>
  `${name}(${inputSize}, ${hiddenSize})`;

/** Checks the sizes of a cell, and reads its options: `more` are those that it takes besides. */
export function readCell<M extends object>(
  kind: CellKind,
  inputSize: number | null,
  hiddenSize: number,
  options: RecurrentCellOptions & Partial<M>,
  more: Schema<M>,
) {
  if (inputSize !== null) checkFeatures(kind.name, 'inputSize', inputSize);
  checkFeatures(kind.name, 'hiddenSize', hiddenSize);
  return readCellOptions(cellSubject(kind, inputSize, hiddenSize), options, more);
}

interface CellPass extends Pass {
  readonly outShape: readonly number[];
  /** @internal */
  readonly steps: Steps;
  /** @internal Of the norms, as `NAMES` has them. */
  readonly passes: readonly (StepPass | undefined)[];
  /** @internal Where it goes on from. */
  readonly state: States & { readonly step: number };
  /** @internal Set at the end of a forward. */
  left: Left | undefined;
}

/** The norms of a cell. */
const NAMES = ['ih', 'hh', 'c'] as const;
/** Names of options that every call takes. */
const CALL_OPTIONS: readonly string[] = ['out', 'lengths', 'state'];

/**
 * x `[N, T, inputSize]` to y `[N, T, H]` or `[N, H]`, as the option `output` says; `out` must lie
 * apart from x. Padding has no part in anything: statistics are those of the sequences that reach a
 * step, and its output is 0; what dy holds there does not matter. Backward goes back through all
 * steps of the last forward. A forward throws ERR_MASK for lengths, and what the norms' options
 * say; after ERR_MEMORY in the middle of the sequences backward needs another.
 */
export abstract class RecurrentCell extends LeafLayer<CellPass, 3, Omit<RecurrentForwardOptions, 'out'>> {
  /** Length of the state, H. */
  readonly hiddenSize: number;
  readonly #kind: CellKind;
  readonly #lastOnly: boolean;
  /** Of the plain cell. */
  readonly #biases: CellParts['biases'];
  readonly #make: (inputSize: number) => CellParts;
  #made: CellParts | undefined;
  /**
   * Batch norm of what comes from the input, of what comes from the state, and what a cell has
   * besides; none in the plain cell.
   */
  readonly norms: Readonly<Record<'ih' | 'hh' | 'c', RecurrentBatchNorm1d | undefined>>;
  #memory: Memory;
  #state: RecurrentState | undefined;

  /** @internal */
  constructor(
    kind: CellKind,
    inputSize: number | null,
    hiddenSize: number,
    options: ReturnType<typeof readCellOptions>,
  ) {
    super();
    const { cell, norm } = options;
    const { output, init, seed } = cell;
    const wide = kind.gates * hiddenSize;
    this.#kind = kind;
    this.#lastOnly = output === 'last';
    this.hiddenSize = hiddenSize;
    const subject = cellSubject(kind, inputSize, hiddenSize);
    const normOf = (channels: number) => {
      if (!norm) return undefined;
      try {
        return new RecurrentBatchNorm1d(channels, norm);
      } catch (error) {
        throw blaming(subject, error);
      }
    };
    this.norms = { ih: normOf(wide), hh: normOf(wide), c: kind.hasValue ? normOf(hiddenSize) : undefined };
    const bias = () => new LearnedParameter([wide], new Float32Array(wide));
    const biases = norm ? undefined : { ih: bias(), hh: bias() };
    this.#biases = biases;
    this.#make = (inputSize) => {
      const random = new Random(seed);
      const weight = (depth: number) => {
        const values = new Float32Array(wide * depth);
        (init ?? torchUniform())(values, init ? depth : hiddenSize, wide, random);
        return new LearnedParameter([wide, depth], values);
      };
      const weights = { ih: weight(inputSize), hh: weight(hiddenSize) };
      return { kind, inputSize, hiddenSize, wide, weights, biases, lastOnly: this.#lastOnly };
    };
    if (inputSize !== null) this.#made = this.#make(inputSize);
    this.#memory = memoryIn(backend().heap);
  }

  get subject(): string {
    return cellSubject(this.#kind, this.#made?.inputSize ?? null, this.hiddenSize);
  }

  /**
   * Length of the input's last axis, I.
   *
   * @throws ERR_MODE where it is not known yet
   */
  get inputSize(): number {
    return this.#made?.inputSize ?? notBuilt(this.subject, 'inputSize');
  }

  get #parts(): CellParts {
    return this.#made ?? notBuilt(this.subject, 'parameters');
  }

  override build(shape: readonly (number | null)[]): this {
    super.build(shape);
    const size = shape[2];
    // in a graph a length that is not known is NaN
    if (!this.#made && size) {
      checkFeatures(this.subject, 'inputSize', size);
      this.#made = this.#make(size);
    }
    return this;
  }

  /** Weight of the input, `[gates·H, I]`, in PyTorch's order of gates. */
  get weightIh(): Parameter {
    return this.#parts.weights.ih;
  }

  /** Weight of the previous state, `[gates·H, H]`, in PyTorch's order of gates. */
  get weightHh(): Parameter {
    return this.#parts.weights.hh;
  }

  /** Bias of what comes from the input, `[gates·H]`: beta of its norm, if there is one. */
  get biasIh(): Parameter {
    return this.#biases?.ih ?? this.norms.ih!.beta!;
  }

  /** Bias of what comes from the previous state, `[gates·H]`: beta of its norm, if there is one. */
  get biasHh(): Parameter {
    return this.#biases?.hh ?? this.norms.hh!.beta!;
  }

  /**
   * Copies of the states at the ends of the last forward's sequences, for `state` of the next
   * piece; `null` before a forward.
   */
  get state(): RecurrentState | null {
    return this.#state
      ? { ...this.#state, h: this.#state.h.slice(), ...(this.#state.c && { c: this.#state.c.slice() }) }
      : null;
  }

  override train(on = true): this {
    super.train(on);
    for (const norm of this.#norms()) norm.train(on);
    return this;
  }

  override parameters(): Parameter[] {
    const own: Parameter[] = [this.#parts.weights.ih, this.#parts.weights.hh];
    if (this.#biases) own.push(this.#biases.ih, this.#biases.hh);
    return [...own, ...this.#norms().flatMap((norm) => norm.parameters())];
  }

  outputShape(shape: readonly number[]): readonly number[] {
    const size = this.#made?.inputSize;
    if (shape.length !== 3 || differs(shape[2], size ?? Number.NaN)) {
      throw wrongValue('ERR_SHAPE', this.subject, 'x', `shape [N, T, ${size ?? 'I'}]`, showShape(shape));
    }
    return this.#lastOnly ? [shape[0], this.hiddenSize] : [shape[0], shape[1], this.hiddenSize];
  }

  /** @internal */
  protected override callOptions(): readonly string[] {
    return CALL_OPTIONS;
  }

  /** @internal */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal Backward reads the rows that forward has packed. */
  protected override get needsInputs(): boolean {
    return false;
  }

  /** @internal */
  protected override begin(given: readonly number[], options: Omit<RecurrentForwardOptions, 'out'>): CellPass {
    const shape = [...given];
    if (!this.#made) this.build(shape);
    const outShape = this.outputShape(shape);
    const [samples, length] = shape;
    const lengths = options.lengths === undefined ? undefined : readLengths(this.subject, options.lengths, shape, 1);
    const state = this.#readState(options.state, samples);
    const steps = stepsOf(samples, length, (n, t) => !lengths || t < lengths[n]);
    const passes = NAMES.map((name) => {
      try {
        const norm = this.norms[name];
        return norm?.engine.beginSteps(steps, shape, state.step, norm.training);
      } catch (error) {
        throw blaming(this.subject, error);
      }
    });
    return { plan: { shape, size: countOf(shape) }, outShape, steps, passes, state, left: undefined };
  }

  /** @internal */
  override get passedOptions(): readonly string[] {
    return ['lengths'];
  }

  /** @internal */
  protected override renew({ plan }: CellPass): CellPass {
    return this.begin(plan.shape, {});
  }

  /** @internal */
  protected override write(call: Call, pass: CellPass, { x }: ResolvedInputs, out: TensorLike): void {
    const { passes, state, plan } = pass;
    const norms: RunByRun[] = [];
    // statistics that may be refused in the middle must not cost what an earlier forward left
    const memory = this.norms.ih && this.#mayRefuse ? memoryIn(backend().heap) : this.#memory;
    const left = { norms, memory };
    if (memory === this.#memory) this.forget();
    let end: States;
    try {
      NAMES.forEach((name, i) => {
        const pass = passes[i];
        if (pass) norms.push(this.norms[name]!.engine.runByRun(pass));
      });
      end = runForward(call, this.#parts, pass.steps, state, left, call.input(x), call.output(out));
    } catch (error) {
      for (const norm of norms) norm.abandon();
      if (memory !== this.#memory) releaseMemory(memory);
      throw blaming(this.subject, error);
    }
    for (const norm of norms) norm.commit();
    if (memory !== this.#memory) releaseMemory(this.#memory);
    this.#memory = memory;
    const { h, c } = end;
    this.#state = { h, ...(this.#kind.hasValue && { c }), step: state.step + plan.shape[1] };
    pass.left = left;
  }

  /** @internal */
  protected override empty(pass: CellPass, call: Call, inputs: ResolvedInputs, out: TensorLike): void {
    this.write(call, pass, inputs, out);
  }

  /** @internal */
  protected override writeBack(call: Call, pass: CellPass, _: ResolvedInputs, dy: TensorLike, dx: TensorLike): void {
    const restore = gradientsOf(this.parameters());
    try {
      runBackward(call, this.#parts, pass.steps, pass.left!, call.input(dy), call.output(dx));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** `weightIh`, `weightHh`, `biasIh`, `biasHh` or the norms under their names: `normIh.gamma` … */
  override stateSlots(): StateSlots {
    const { ih, hh } = this.#parts.weights;
    const slots: StateSlots = { weightIh: ih.slot(), weightHh: hh.slot() };
    if (this.#biases) Object.assign(slots, { biasIh: this.#biases.ih.slot(), biasHh: this.#biases.hh.slot() });
    for (const [name, norm] of this.named().slice(1)) {
      for (const [leaf, slot] of Object.entries(norm.stateSlots())) slots[`${name}.${leaf}`] = slot;
    }
    return slots;
  }

  /** @internal The cell, and its norms: `normIh`, `normHh`, `normC`. */
  override named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    const names = { ih: 'normIh', hh: 'normHh', c: 'normC' } as const;
    const norms = NAMES.flatMap((key) => {
      const norm = this.norms[key];
      return norm ? [[prefix === '' ? names[key] : `${prefix}.${names[key]}`, norm] as const] : [];
    });
    return [[prefix, this], ...norms];
  }

  /** @throws ERR_MODE in training, where each micro-batch would be normalised by itself */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    if (this.training && this.norms.ih) {
      const expected = 'a cell without statistics for each time step';
      throw wrongMoment('ERR_MODE', this.subject, 'forward of micro-batches', expected, 'this one');
    }
    return super.forwardMicroBatches(xs);
  }

  override checkpoint(): () => void {
    const back = this.#norms().map((norm) => norm.checkpoint());
    const state = this.#state;
    return () => {
      this.#state = state;
      for (const restore of back) restore?.();
    };
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return rank - 1;
  }

  override trace(): never {
    throw wrongMoment('ERR_MODE', this.subject, 'compile', 'layers of one step', 'a recurrent cell');
  }

  /** Gives back the linear memory that the cell and its norms work in. */
  override dispose(): void {
    super.dispose();
    for (const norm of this.#norms()) norm.dispose();
    releaseMemory(this.#memory);
  }

  #norms(): RecurrentBatchNorm1d[] {
    return Object.values(this.norms).filter((norm) => norm !== undefined);
  }

  get #mayRefuse(): boolean {
    return this.training && this.norms.ih?.options.onNonFinite === 'throw';
  }

  #readState(given: RecurrentState | undefined, samples: number): States & { readonly step: number } {
    const values = samples * this.hiddenSize;
    if (given === undefined) return { h: new Float32Array(values), c: new Float32Array(values), step: 0 };
    const { h, c, step } = given ?? {};
    // copies: an array may be a view of linear memory, which moves
    const read = (part: unknown): Float32Array => {
      const floats = floatsOf(part);
      if (floats?.length === values) return floats.slice();
      const expected = `${values} values in a Float32Array, [${samples}, ${this.hiddenSize}]`;
      throw wrongValue('ERR_SHAPE', this.subject, 'state', expected, floats ? `${floats.length} values` : show(part));
    };
    const state = { h: read(h), c: this.#kind.hasValue ? read(c) : new Float32Array(values) };
    if (!Number.isInteger(step) || step < 0) {
      throw wrongValue('ERR_SHAPE', this.subject, 'state.step', 'an integer of 0 or more', show(step));
    }
    return { ...state, step };
  }
}

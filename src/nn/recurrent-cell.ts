// What recurrent cells share: sequences of unequal length packed by step, two products a step,
// batch norm on each, and the way back through time. What is left to each cell is what it does with
// gates.

import { blaming, show, showChoices, showShape, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { linear } from '../kernels/linear/calls.ts';
import { training } from '../kernels/training/part.ts';
import type { ChannelPass } from '../layers/channel-norm.ts';
import type { Layer } from '../layers/layer.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { readLengths } from '../layers/mask.ts';
import { checkFeatures } from '../layers/options.ts';
import { addToGradient, gradientsOf, LearnedParameter } from '../layers/parameter.ts';
import {
  RecurrentBatchNorm1d,
  type RecurrentBatchNormOptions,
  recurrentOptions,
} from '../layers/recurrent-batch-norm.ts';
import type { StateSlots } from '../layers/state.ts';
import { gather, type Steps, scatter, stepsOf } from '../layers/steps.ts';
import { checkNumber, takeOptions } from '../named-options.ts';
import { Region } from '../tensors/block.ts';
import type { Call } from '../tensors/call.ts';
import type { Located } from '../tensors/route.ts';
import { countOf, differs } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { Parameter } from '../types.ts';
import type { Heap } from '../wasm/memory.ts';
import { doubles, fill, floats, indexOf, move, store } from '../wasm/views.ts';
import { type Initializer, torchUniform } from './initializers.ts';
import { packBackward, packedLength, packForward, weightSums } from './products.ts';
import { Random } from './random.ts';

/**
 * Options of both cells: those of `RecurrentBatchNorm1d`, and how the cell begins and what it
 * returns.
 */
export interface RecurrentCellOptions extends Partial<Omit<RecurrentBatchNormOptions, 'affine' | 'activation'>> {
  /**
   * Batch norm of what comes from the input, of what comes from the previous state and, in an LSTM,
   * of the cell's value, with statistics for each time step. `true` (default) takes `maxSteps` and
   * the other options of `RecurrentBatchNorm1d`; `false` is the plain cell, which takes none of
   * them.
   */
  norm?: boolean;
  /**
   * The output: the states of all steps, `[N, T, H]` (`'sequence'`, default), or the last state of
   * each sequence, `[N, H]` (`'last'`).
   */
  output?: 'sequence' | 'last';
  /**
   * How the weights begin. Default: uniform in ±1/√hiddenSize, as in PyTorch. Biases begin at 0.
   */
  init?: Initializer;
  /** Seed of the initial values. Default: a different one every time. */
  seed?: number;
}

/** The state between two pieces of the same sequences, with one row for each sequence. */
export interface RecurrentState {
  /** Hidden state, `[N, H]`. */
  h: Float32Array;
  /** The LSTM's cell value, `[N, H]`. */
  c?: Float32Array;
  /** Time steps before this one. */
  step: number;
}

/** What `forward` of a cell takes besides its input. */
export interface RecurrentForwardOptions<O extends TensorLike = TensorLike> {
  /** Where to write the output: memory apart from x. */
  out?: O;
  /** How many steps of each sequence count, `[N]`. Default: all. */
  lengths?: ArrayLike<number>;
  /**
   * The state to continue from: `state` of the cell after an earlier piece. Backward takes it as a
   * constant (truncated backpropagation through time). Default: zeros.
   */
  state?: RecurrentState;
}

/** One step, in linear memory: rows of the sequences that reach it. */
export interface CellStep {
  readonly rows: number;
  /** Rows of earlier steps. */
  readonly before: number;
  /** States before and after: h, and the cell's own values likewise. */
  readonly h: { readonly before: number; readonly after: number };
  readonly c: { readonly before: number; readonly after: number };
  /** What comes from the input, `[rows, gates·H]`; may be written over. */
  readonly input: number;
  /** Activated gates. */
  readonly gates: number;
  /** A row of H for each row. */
  readonly extra: number;
  /** Room for one more such, for the length of the step. */
  readonly spare: number;
  /** Works out what comes from the state before, with `added` to it, in `y`. */
  fromState(y: number, added: number): void;
}

/** One step back. */
export interface CellStepBack extends Omit<CellStep, 'fromState'> {
  /** dL/dh of the step. */
  readonly dh: number;
  /** Where dL/dc comes from the step behind, and goes to the step before. */
  readonly dc: number;
  /** Where dL/dh of the step before goes, so far as it does not come by the product. */
  readonly dhBefore: number;
  /** Gradients of what came from the input and of what came from the state, `[rows, gates·H]`. */
  readonly dInput: number;
  readonly dState: number;
}

/** Where what a forward leaves for backward lies. */
type Places = Readonly<
  Record<'x' | 'fromInput' | 'input' | 'fromState' | 'gates' | 'extra' | 'h' | 'c' | 'first' | 'wide', number>
>;

/** Where rows and states of a forward lie until backward. */
type Memory = Readonly<Record<'rows' | 'states', Region>>;

function memoryIn(heap: Heap): Memory {
  return { rows: new Region(heap), states: new Region(heap) };
}

function releaseMemory({ rows, states }: Memory): void {
  rows.release();
  states.release();
}

type Runs = ReturnType<RecurrentBatchNorm1d['runByRun']>;

/** What a forward leaves for backward. */
interface Left {
  readonly runs: readonly Runs[];
  readonly memory: Memory;
}

interface CellPass extends Pass {
  readonly outShape: readonly number[];
  /** @internal */
  readonly steps: Steps;
  /** @internal Of the norms, as `NAMES` has them. */
  readonly passes: readonly (ChannelPass | undefined)[];
  /** @internal Where it goes on from. */
  readonly state: RecurrentState & { c: Float32Array };
  /** @internal Set at the end of a forward. */
  left: Left | undefined;
}

/** The norms of a cell. */
const NAMES = ['ih', 'hh', 'c'] as const;
/** Names of options of a call. */
const CALL_OPTIONS: readonly string[] = ['out', 'lengths', 'state'];

const OWN = ['norm', 'output', 'init', 'seed'];
/** Options of its norms' statistics. */
const normOptions = () => recurrentOptions().filter((name) => name !== 'affine' && name !== 'activation');

/**
 * x `[N, T, inputSize]` to y `[N, T, H]` or `[N, H]`, as the option `output` says; `out` must lie
 * apart from x. Padding has no part in anything: statistics are those of the sequences that reach a
 * step, and its output is 0; what dy holds there does not matter. Backward goes back through all
 * steps of the last forward. A forward throws ERR_MASK for lengths, and what the norms' options
 * say; after ERR_MEMORY in the middle of the sequences backward needs another.
 */
export abstract class RecurrentCell extends LeafLayer<CellPass, 3, Omit<RecurrentForwardOptions, 'out'>> {
  readonly subject: string;
  /** Length of the input's last axis, I. */
  readonly inputSize: number;
  /** Length of the state, H. */
  readonly hiddenSize: number;
  readonly #weights: { readonly ih: LearnedParameter; readonly hh: LearnedParameter };
  readonly #biases: { readonly ih: LearnedParameter; readonly hh: LearnedParameter } | undefined;
  /**
   * Batch norm of what comes from the input, of what comes from the state, and what a cell has
   * besides; none in the plain cell.
   */
  readonly norms: Readonly<Record<'ih' | 'hh' | 'c', RecurrentBatchNorm1d | undefined>>;
  readonly #output: 'sequence' | 'last';
  #memory: Memory;
  #state: RecurrentState | undefined;

  /** @param more names of options that a cell takes besides */
  constructor(inputSize: number, hiddenSize: number, options: RecurrentCellOptions, more: readonly string[] = []) {
    super();
    const { kind, gates, hasValue } = this.form();
    checkFeatures(kind, 'inputSize', inputSize);
    checkFeatures(kind, 'hiddenSize', hiddenSize);
    this.subject = `${kind}(${inputSize}, ${hiddenSize})`;
    const taken = takeOptions(this.subject, options, [...OWN, ...more, ...normOptions()]);
    const { norm = true, output = 'sequence', init, seed, ...others } = taken;
    if (typeof norm !== 'boolean') throw this.#wrongOption('norm', 'true or false', norm);
    if (output !== 'sequence' && output !== 'last') throw this.#wrongOption('output', "'sequence' or 'last'", output);
    if (init !== undefined && typeof init !== 'function') throw this.#wrongOption('init', 'an initializer', init);
    if (seed !== undefined) checkNumber(this.subject, 'seed', seed);
    const rest = Object.fromEntries(Object.entries(others).filter(([name]) => !more.includes(name)));
    const stray = norm ? undefined : Object.keys(rest)[0];
    if (stray) throw this.#wrongOption('options without norm', showChoices([...OWN, ...more]), stray);
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.#output = output;
    const wide = gates * hiddenSize;
    const random = new Random(seed);
    const weight = (depth: number) => {
      const values = new Float32Array(wide * depth);
      (init ?? torchUniform())(values, init ? depth : hiddenSize, wide, random);
      return new LearnedParameter([wide, depth], values);
    };
    this.#weights = { ih: weight(inputSize), hh: weight(hiddenSize) };
    const normOf = (channels: number) => {
      if (!norm) return undefined;
      try {
        return new RecurrentBatchNorm1d(channels, rest as unknown as RecurrentBatchNormOptions);
      } catch (error) {
        throw blaming(this.subject, error);
      }
    };
    this.norms = { ih: normOf(wide), hh: normOf(wide), c: hasValue ? normOf(hiddenSize) : undefined };
    const bias = () => new LearnedParameter([wide], new Float32Array(wide));
    this.#biases = norm ? undefined : { ih: bias(), hh: bias() };
    this.#memory = memoryIn(backend().heap);
  }

  /**
   * @internal The name in errors, how many gates, and has it a value of its own beside the hidden
   *   state?
   */
  protected abstract form(): { kind: string; gates: number; hasValue: boolean };

  /** Weight of the input, `[gates·H, I]`, in PyTorch's order of gates. */
  get weightIh(): Parameter {
    return this.#weights.ih;
  }

  /** Weight of the previous state, `[gates·H, H]`, in PyTorch's order of gates. */
  get weightHh(): Parameter {
    return this.#weights.hh;
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
    const own: Parameter[] = [this.#weights.ih, this.#weights.hh];
    if (this.#biases) own.push(this.#biases.ih, this.#biases.hh);
    return [...own, ...this.#norms().flatMap((norm) => norm.parameters())];
  }

  outputShape(shape: readonly number[]): readonly number[] {
    if (shape.length !== 3 || differs(shape[2], this.inputSize)) {
      throw wrongValue('ERR_SHAPE', this.subject, 'x', `shape [N, T, ${this.inputSize}]`, showShape(shape));
    }
    return this.#output === 'last' ? [shape[0], this.hiddenSize] : [shape[0], shape[1], this.hiddenSize];
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
    const outShape = this.outputShape(shape);
    const [samples, length] = shape;
    const lengths = options.lengths === undefined ? undefined : readLengths(this.subject, options.lengths, shape, 2);
    const state = this.#readState(options.state, samples);
    const steps = stepsOf(samples, length, (n, t) => !lengths || t < lengths[n]);
    const passes = NAMES.map((name) => {
      try {
        return this.norms[name]?.beginSteps(steps, shape, state.step);
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
  protected override again({ plan }: CellPass): CellPass {
    return this.begin(plan.shape, {});
  }

  /** @internal */
  protected override write(call: Call, pass: CellPass, { x }: Located, out: TensorLike): void {
    const { passes, state, plan } = pass;
    const runs: Runs[] = [];
    // statistics that may be refused in the middle must not cost what an earlier forward left
    const memory = this.norms.ih && this.#mayRefuse ? memoryIn(backend().heap) : this.#memory;
    const left = { runs, memory };
    if (memory === this.#memory) this.forget();
    let end: Omit<RecurrentState, 'step'>;
    try {
      NAMES.forEach((name, i) => {
        if (passes[i]) runs.push(this.norms[name]!.runByRun(passes[i] as ChannelPass));
      });
      end = this.#run(call, pass, left, call.input(x), call.output(out));
    } catch (error) {
      for (const run of runs) run.abandon();
      if (memory !== this.#memory) releaseMemory(memory);
      throw blaming(this.subject, error);
    }
    for (const run of runs) run.settle();
    if (memory !== this.#memory) releaseMemory(this.#memory);
    this.#memory = memory;
    this.#state = { ...end, step: state.step + plan.shape[1] };
    pass.left = left;
  }

  /** @internal */
  protected override empty(pass: CellPass, call: Call, inputs: Located, out: TensorLike): void {
    this.write(call, pass, inputs, out);
  }

  /** @internal */
  protected override writeBack(call: Call, pass: CellPass, _: Located, dy: TensorLike, dx: TensorLike): void {
    const restore = gradientsOf(this.parameters());
    try {
      this.#runBack(call, pass, pass.left!, call.input(dy), call.output(dx));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** `weightIh`, `weightHh`, `biasIh`, `biasHh` or the norms under their names: `normIh.gamma` … */
  override stateSlots(): StateSlots {
    const { ih, hh } = this.#weights;
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

  /** @internal Gates of a step, and the states behind it. */
  protected abstract forwardStep(step: CellStep, normalize: ((x: number, y: number) => void) | undefined): void;

  /** @internal Their gradients. */
  protected abstract backwardStep(step: CellStepBack, normBack: ((x: number, dy: number) => void) | undefined): void;

  #norms(): RecurrentBatchNorm1d[] {
    return Object.values(this.norms).filter((norm) => norm !== undefined);
  }

  get #mayRefuse(): boolean {
    return this.training && this.norms.ih?.options.onNonFinite === 'throw';
  }

  #wrongOption(argument: string, expected: string, got: unknown): Error {
    return wrongKind('ERR_OPTION', this.subject, argument, expected, show(got));
  }

  #readState(
    given: RecurrentState | undefined,
    samples: number,
  ): Required<Omit<RecurrentState, 'c'>> & { c: Float32Array } {
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
    const state = { h: read(h), c: this.form().hasValue ? read(c) : new Float32Array(values) };
    if (!Number.isInteger(step) || step < 0) {
      throw wrongValue('ERR_SHAPE', this.subject, 'state.step', 'an integer of 0 or more', show(step));
    }
    return { ...state, step };
  }

  /**
   * Addresses of what a forward leaves for backward: widths of a row by name, for every row; and
   * states, which have the rows before the first step besides.
   */
  #places({ rows, starts }: Steps, memory: Memory): Places {
    const { inputSize, hiddenSize } = this;
    const wide = this.form().gates * hiddenSize;
    const many = rows.length;
    const widths = { x: inputSize, fromInput: wide, input: wide, fromState: wide, gates: wide, extra: hiddenSize };
    const total = Object.values(widths).reduce((sum, width) => sum + width, 0);
    let at = memory.rows.atLeast(Math.max(total * many, 1) * 4);
    const found = {} as Record<keyof typeof widths, number>;
    for (const name of Object.keys(widths) as (keyof typeof widths)[]) {
      found[name] = at;
      at += widths[name] * many * 4;
    }
    const first = starts[1] ?? 0;
    const h = memory.states.atLeast(Math.max(2 * (many + first) * hiddenSize, 1) * 4);
    return { ...found, h, c: h + (many + first) * hiddenSize * 4, first, wide };
  }

  /**
   * What a cell is told of a step. `first`: rows before the first step's, which hold the initial
   * state.
   */
  #stepAt({ starts }: Steps, t: number, at: Places): Omit<CellStep, 'fromState' | 'spare'> {
    const { hiddenSize } = this;
    const row = hiddenSize * 4;
    const before = starts[t];
    const states = (base: number) => ({
      before: base + (t === 0 ? 0 : at.first + starts[t - 1]) * row,
      after: base + (at.first + before) * row,
    });
    return {
      rows: starts[t + 1] - before,
      before,
      h: states(at.h),
      c: states(at.c),
      input: at.input + before * at.wide * 4,
      gates: at.gates + before * at.wide * 4,
      extra: at.extra + before * row,
    };
  }

  /** The row, in order of steps, in which each sequence ends; of those that are not empty. */
  #ends({ starts, order }: Steps): { n: number; row: number }[] {
    return Array.from(order.subarray(0, starts[1] ?? 0), (n, rank) => {
      let t = starts.length - 2;
      while (starts[t + 1] - starts[t] <= rank) t--;
      return { n, row: starts[t] + rank };
    });
  }

  /** Returns the state at the end. */
  #run(call: Call, pass: CellPass, { runs, memory }: Left, x: number, y: number): Omit<RecurrentState, 'step'> {
    const { steps, state, outShape } = pass;
    const current = backend();
    const { heap } = current;
    const { inputSize, hiddenSize } = this;
    const { ih, hh } = this.#weights;
    const at = this.#places(steps, memory);
    const { wide, first } = at;
    const many = steps.rows.length;
    const [normIh, normHh, normC] = runs;
    const packed = [ih, hh].map((weight) => {
      const depth = weight.shape[1];
      const panels = call.scratch(packedLength(depth, wide) * 4);
      packForward(call, weight.values.now, panels, depth, wide);
      return panels;
    });
    const biases = [this.#biases?.ih, this.#biases?.hh].map((bias) => {
      if (!bias) return 0;
      const vector = call.scratch(wide * 4);
      store(heap, vector, bias.values.now);
      return vector;
    });
    gather(call, steps, x, inputSize, at.x);
    linear(current, at.x, packed[0], biases[0], normIh ? at.fromInput : at.input, NO_ACTIVATION, many, inputSize, wide);
    const ends = this.#ends(steps);
    const row = (values: Float32Array, n: number) => values.subarray(n * hiddenSize, (n + 1) * hiddenSize);
    ends.forEach(({ n }, rank) => {
      store(heap, at.h + rank * hiddenSize * 4, row(state.h, n));
      store(heap, at.c + rank * hiddenSize * 4, row(state.c, n));
    });
    const spare = call.scratch(Math.max(first * wide, 1) * 4);
    for (let t = 0; t < steps.starts.length - 1; t++) {
      const step = this.#stepAt(steps, t, at);
      const { rows, before, h, input } = step;
      normIh?.forward(t, at.fromInput + before * wide * 4, 0, input);
      const product = at.fromState + before * wide * 4;
      const fromState = (target: number, added: number) => {
        if (!normHh)
          linear(
            current,
            h.before,
            packed[1],
            biases[1],
            target,
            NO_ACTIVATION,
            rows,
            hiddenSize,
            wide,
            hiddenSize,
            1,
            added ? 1 : 0,
          );
        else {
          linear(current, h.before, packed[1], 0, product, NO_ACTIVATION, rows, hiddenSize, wide);
          normHh.forward(t, product, added, target);
        }
      };
      this.forwardStep({ ...step, spare, fromState }, normC && ((from, to) => normC.forward(t, from, 0, to)));
    }
    const behind = first * hiddenSize * 4;
    const end = { h: state.h.slice(), ...(this.form().hasValue && { c: state.c.slice() }) };
    for (const { n, row: last } of ends) {
      for (const name of ['h', 'c'] as const) {
        const from = at[name] + behind + last * hiddenSize * 4;
        end[name]?.set(floats(heap, from, hiddenSize), n * hiddenSize);
      }
    }
    if (outShape.length === 2) store(heap, y, end.h);
    else scatter(steps, at.h + behind, y, hiddenSize);
    return end;
  }

  #runBack(call: Call, { steps }: CellPass, { runs, memory }: Left, dy: number, dx: number): void {
    const current = backend();
    // kernels that are needed for the first time take memory, and views with it
    const { kernels } = training(current);
    const { heap } = current;
    const { inputSize, hiddenSize } = this;
    const { ih, hh } = this.#weights;
    const at = this.#places(steps, memory);
    const { wide, first } = at;
    const many = steps.rows.length;
    const [normIh, normHh, normC] = runs;
    const room = (values: number) => call.scratch(Math.max(values, 1) * 4);
    const zeros = (values: number) => {
      const from = room(values);
      fill(heap, from, values, 0);
      return from;
    };
    const dh = zeros(many * hiddenSize);
    if (this.#output === 'sequence') gather(call, steps, dy, hiddenSize, dh);
    else {
      for (const { n, row } of this.#ends(steps)) {
        move(heap, dy + n * hiddenSize * 4, dh + row * hiddenSize * 4, hiddenSize);
      }
    }
    // what the step behind hands over; rows of sequences that end here have never been written
    const carried = zeros(first * hiddenSize);
    const dc = zeros(first * hiddenSize);
    const spare = room(first * wide);
    const dInput = room(many * wide);
    const dState = room(many * wide);
    const states = room(many * hiddenSize);
    const [towardsX, towardsH] = [ih, hh].map((weight) => packBackward(call, weight.values.now, weight.shape[1], wide));
    for (let t = steps.starts.length - 2; t >= 0; t--) {
      const step = this.#stepAt(steps, t, at);
      const { rows, before } = step;
      const values = rows * hiddenSize;
      const own = dh + before * hiddenSize * 4;
      const { f32 } = heap;
      const [into, more] = [indexOf(own), indexOf(carried)];
      for (let i = 0; i < values; i++) f32[into + i] += f32[more + i];
      const gates = before * wide * 4;
      const [dGates, s] = [dInput + gates, dState + gates];
      this.backwardStep(
        { ...step, dh: own, dc, dhBefore: carried, dInput: dGates, dState: s, spare },
        normC && ((from, to) => normC.backward(t, from, to, to)),
      );
      normIh?.backward(t, at.fromInput + gates, dGates, dGates);
      normHh?.backward(t, at.fromState + gates, s, s);
      linear(current, s, towardsH, 0, carried, NO_ACTIVATION, rows, wide, hiddenSize, wide, 1, 1);
      move(heap, step.h.before, states + before * hiddenSize * 4, values);
    }
    if (many > 0) {
      for (const [weight, from, g] of [
        [ih, at.x, dInput],
        [hh, states, dState],
      ] as const) {
        if (weight.frozen) continue;
        const sums = weightSums(call, from, g, many, weight.shape[1], wide);
        addToGradient(weight, floats(heap, sums, weight.grad.length));
      }
      for (const [bias, g] of [
        [this.#biases?.ih, dInput],
        [this.#biases?.hh, dState],
      ] as const) {
        if (!bias || bias.frozen) continue;
        const sums = call.scratch(wide * 8);
        kernels.column_sums_f32(g, sums, many, wide);
        addToGradient(bias, doubles(heap, sums, wide));
      }
    }
    const rows = room(many * inputSize);
    linear(current, dInput, towardsX, 0, rows, NO_ACTIVATION, many, wide, inputSize);
    scatter(steps, rows, dx, inputSize);
  }
}

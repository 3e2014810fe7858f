import type { OperationGraph, Value } from '../graph/graph.ts';
import type { ConvOperation } from '../graph/operations/conv.ts';
import { backend } from '../kernels/backend.ts';
import { sumRuns, transpose } from '../kernels/conv/calls.ts';
import { training } from '../kernels/training/part.ts';
import { type ConvGrid, type ConvSpec, convShape, gridOf, weightShape } from '../layers/conv-geometry.ts';
import { type ConvPadding, readConv } from '../layers/conv-options.ts';
import {
  fillSource,
  gradientLength,
  packedLength,
  packWeights,
  runPlan,
  runWeights,
  tableBytes,
  unpackGradient,
} from '../layers/conv-passes.ts';
import { type ConvPlan, placesOf, planOf, type Towards } from '../layers/conv-plan.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { addToGradient, type LearnedParameter } from '../layers/parameter.ts';
import type { PerAxis } from '../layers/per-axis.ts';
import type { StateSlots } from '../layers/state.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { seed as seedOption } from '../named-options.ts';
import { Region } from '../tensors/block.ts';
import { type Call, within } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout, Parameter } from '../types.ts';
import { doubles, store } from '../wasm/views.ts';
import { type Initializer, initializer } from './initializers.ts';
import { type Learned, type LearnedSettings, learn } from './learned.ts';

interface CommonOptions {
  /** Cells between two windows: a number, or one for each axis. Default 1. */
  stride?: PerAxis;
  /** Cells between two places of a window: a number, or one for each axis. Default 1. */
  dilation?: PerAxis;
  /**
   * Groups of consecutive channels that see no other group's; divides both channel counts. Default
   * 1.
   */
  groups?: number;
  /** Add a learned bias. Default `true`. */
  bias?: boolean;
  /**
   * `'channels-first'`, `[N, C, ...]`, default, or `'channels-last'`, `[N, ..., C]`. The weight has
   * the same shape either way.
   */
  layout?: Layout;
  /**
   * How the weight begins. Default `torchUniform()`, PyTorch's: uniform in ±1/√fanIn, fanIn the
   * weights behind one output. The bias begins at 0 with an initializer of your own, else as the
   * weight.
   */
  init?: Initializer;
  /** Seed of the initial values. Default: a different one every time. */
  seed?: number;
}

/** Options of `Conv1d`, `Conv2d` and `Conv3d`. */
export interface ConvOptions extends CommonOptions {
  /**
   * Zeros around the input: a number, one for each axis, or `[before, after]` for each axis.
   * `'valid'`: none. `'same'`: enough for ⌈input/stride⌉ outputs, the odd zero behind the input.
   * Default 0.
   */
  padding?: ConvPadding;
}

/** Options of `ConvTranspose1d` and `ConvTranspose2d`. */
export interface ConvTransposeOptions extends CommonOptions {
  /**
   * What is taken from both ends of the output: a number, one for each axis, or `[before, after]`
   * for each axis. Default 0.
   */
  padding?: PerAxis | readonly (readonly [before: number, after: number])[];
  /**
   * Values added to the end of the output, fewer than stride or dilation: a number, or one for each
   * axis. Default 0.
   */
  outputPadding?: PerAxis;
}

interface ConvPass extends Pass {
  /** @internal */
  readonly grid: ConvGrid;
}

/** Options beside those of every convolution. */
type ConvOwn = Pick<LearnedSettings, 'init' | 'seed'>;

/** How a class calls itself, and what it is. */
interface Kind {
  readonly name: string;
  readonly axes: number;
  readonly transposed: boolean;
}

type PlanName = Towards | 'weights';

/**
 * Shapes that a layer keeps plans of: those of a training and of an evaluation batch, and of a last
 * one.
 */
const MOST_PLANS = 4;

/** What all convolutions share: weights, geometry and the passes. */
export abstract class ConvLayer<R extends number = number> extends LeafLayer<ConvPass, R> {
  /** Channels of the output. */
  readonly outChannels: number;
  /** Length of the window along each axis. */
  readonly kernelSize: readonly number[];
  /** Cells between two windows, along each axis. */
  readonly stride: readonly number[];
  /** Cells between two places of a window, along each axis. */
  readonly dilation: readonly number[];
  /** Groups of channels that see no other group's. */
  readonly groups: number;
  /** Where the channels lie in input and output. */
  readonly layout: Layout;
  /** Reads what the constructor was given, for so many channels of the input. */
  readonly #readFor: (inChannels: number | null) => ReturnType<typeof readConv<ConvOwn>>;
  #read: ReturnType<typeof readConv<ConvOwn>>;
  #learned: Learned | undefined;
  /** The weight in panels, for forward. */
  #packed: Region | undefined;
  #packedStamp = Number.NaN;
  #plans: { readonly shape: readonly number[]; readonly plans: Partial<Record<PlanName, ConvPlan>> }[] = [];

  constructor(
    kind: Kind,
    inChannels: number | null,
    outChannels: number,
    kernelSize: PerAxis,
    options: ConvOptions | ConvTransposeOptions,
  ) {
    super();
    const own = { init: initializer(), seed: seedOption() };
    const given = { ...options };
    this.#readFor = (channels) => readConv(kind, channels, outChannels, kernelSize, given, own);
    this.#read = readConv(kind, inChannels, outChannels, kernelSize, options, own);
    const { spec } = this.#read;
    this.outChannels = outChannels;
    this.kernelSize = spec.kernel;
    this.stride = spec.stride;
    this.dilation = spec.dilation;
    this.groups = spec.groups;
    this.layout = spec.layout;
    if (inChannels !== null) this.#make();
  }

  get subject(): string {
    return this.#read.subject;
  }

  /**
   * Channels of the input.
   *
   * @throws ERR_MODE where they are not known yet
   */
  get inChannels(): number {
    return this.#learned ? this.#spec.inChannels : notBuilt(this.subject, 'inChannels');
  }

  get #spec(): ConvSpec {
    return this.#read.spec;
  }

  get #weight(): LearnedParameter {
    return (this.#learned ?? notBuilt(this.subject, 'parameters')).weight;
  }

  get #bias(): LearnedParameter | undefined {
    return (this.#learned ?? notBuilt(this.subject, 'parameters')).bias;
  }

  override build(shape: readonly (number | null)[]): this {
    super.build(shape);
    const channels = shape[this.#isFirst ? 1 : shape.length - 1];
    // in a graph a length that is not known is NaN
    if (!this.#learned && channels) {
      this.#read = this.#readFor(channels);
      this.#make();
    }
    return this;
  }

  #make(): void {
    const { spec, settings } = this.#read;
    const shape = weightShape(spec);
    const taps = countOf(spec.kernel);
    this.#learned = learn(shape, this.outChannels, shape[1] * taps, shape[0] * taps, settings);
  }

  /**
   * `[out, in/groups, ...kernel]`, transposed `[in, out/groups, ...kernel]`, whatever the layout.
   */
  get weight(): Parameter {
    return this.#weight;
  }

  /** `[outChannels]`; `null` without one. */
  get bias(): Parameter | null {
    return this.#bias ?? null;
  }

  override parameters(): Parameter[] {
    return this.#bias ? [this.#weight, this.#bias] : [this.#weight];
  }

  /**
   * @throws ERR_SHAPE for another rank or channel count, and for an input without a window;
   *   ERR_MEMORY
   */
  outputShape(shape: readonly number[]): readonly number[] {
    return convShape(this.subject, this.#spec, shape);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): ConvPass {
    if (!this.#learned) this.build(shape);
    const outShape = this.outputShape(shape);
    return { plan: { shape, size: countOf(shape) }, outShape, grid: gridOf(this.#spec, shape, outShape) };
  }

  /** @internal The kernels read their inputs more than once. */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal */
  protected override write(call: Call, pass: ConvPass, { x }: ResolvedInputs, out: TensorLike): void {
    const packed = this.#pack(call, pass.grid);
    const bias = this.#bias ? call.scratch(this.outChannels * 4) : 0;
    if (this.#bias) store(backend().heap, bias, this.#bias.values.now);
    const towards = this.#spec.transposed ? 'input' : 'output';
    const source = this.#source(call, this.#plan(pass, towards), call.input(x), this.#isFirst);
    this.#product(call, pass, towards, source, packed, bias, out);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    pass: ConvPass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    if (pass.plan.size === 0) return;
    const from = this.#channelsLast(call, pass.outShape!, call.input(dy));
    const sums = this.#sumGradients(call, pass, x, from);
    const towards = this.#spec.transposed ? 'output' : 'input';
    const { grid } = pass;
    const places = placesOf(grid, towards);
    const packed = call.scratch(packedLength(grid, countOf(this.#spec.kernel), towards) * 4);
    this.#packInto(call, packed, grid, places, towards);
    const source = this.#source(call, this.#plan(pass, towards), from, false);
    this.#product(call, pass, towards, source, packed, 0, dx);
    this.#addGradients(sums);
  }

  override backwardParameters(dy: TensorLike): void {
    const { saved, given } = this.checkBackward(dy);
    within((call) => {
      if (saved.pass.plan.size === 0) return;
      const from = this.#channelsLast(call, saved.pass.outShape!, call.input(given));
      this.#addGradients(this.#sumGradients(call, saved.pass, saved.inputs.x!, from));
    });
  }

  override stateSlots(): StateSlots {
    return { weight: this.#weight.slot(), ...(this.#bias && { bias: this.#bias.slot() }) };
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return this.#isFirst ? 1 : rank - 1;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const [weight, bias] = [this.#weight.values.kept, this.#bias?.values.now.slice() ?? null];
    const operation: ConvOperation = { kind: 'conv', ...this.#spec, weight, bias };
    return graph.append(operation, [x]);
  }

  /** @internal The layer as `foldConv` takes weights. */
  plain() {
    const { transposed, groups, padding, stride, dilation, outputPadding } = this.#spec;
    const sameBothEnds = padding !== 'same' && padding.every(([before, after]) => before === after);
    return {
      weight: this.#weight.values.now.slice(),
      bias: this.#bias ? this.#bias.values.now.slice() : null,
      shape: [...this.#weight.shape],
      transposed,
      groups,
      padding: padding === 'same' ? padding : sameBothEnds ? padding.map(([both]) => both) : padding,
      stride: [...stride],
      dilation: [...dilation],
      ...(transposed && { outputPadding: [...outputPadding] }),
    };
  }

  /** Gives back the linear memory that the layer works in: the packed weight. */
  override dispose(): void {
    super.dispose();
    this.#packed?.release();
    this.#packed = undefined;
    this.#packedStamp = Number.NaN;
    this.#plans = [];
  }

  get #isFirst(): boolean {
    return this.layout === 'channels-first';
  }

  /**
   * The product of a forward or a backward, made once for a shape; `'weights'`: the one of forward
   * that the weights' gradient follows.
   */
  #plan({ plan, grid }: ConvPass, name: PlanName): ConvPlan {
    let known = this.#plans.find(({ shape }) => sameShape(shape, plan.shape));
    if (!known) {
      known = { shape: plan.shape, plans: {} };
      this.#plans = [known, ...this.#plans.slice(0, MOST_PLANS - 1)];
    }
    known.plans[name] ??= name === 'weights' ? planOf(grid, 'output', true) : planOf(grid, name);
    return known.plans[name];
  }

  /** The weight as the kernel reads it, packed again only if it may have changed. */
  #pack(call: Call, grid: ConvGrid): number {
    const { values } = this.#weight;
    const towards = this.#spec.transposed ? 'input' : 'output';
    const places = placesOf(grid, towards);
    this.#packed ??= new Region(backend().heap);
    const packed = this.#packed.atLeast(packedLength(grid, countOf(this.#spec.kernel), towards) * 4);
    if (this.#packedStamp !== values.stamp) {
      this.#packInto(call, packed, grid, places, towards);
      this.#packedStamp = values.stamp;
    }
    return packed;
  }

  #packInto(call: Call, packed: number, grid: ConvGrid, places: readonly (readonly number[])[], towards: Towards) {
    const weight = this.#weight.values.now;
    const at = call.scratch(weight.length * 4);
    store(backend().heap, at, weight);
    packWeights(backend(), at, packed, grid, countOf(this.#spec.kernel), places, towards);
  }

  /** What a product reads: what is given, or a copy of it in scratch memory. */
  #source(call: Call, { source }: ConvPlan, x: number, isFirst: boolean): number {
    if (source.isGiven && !isFirst) return x;
    const at = call.scratch(source.size * 4);
    fillSource(backend(), source, x, at, isFirst);
    return at;
  }

  /** Runs a product, and brings its result to where it belongs. */
  #product(
    call: Call,
    pass: ConvPass,
    towards: Towards,
    source: number,
    packed: number,
    bias: number,
    out: TensorLike,
  ): void {
    const current = backend();
    const { grid } = pass;
    const plan = this.#plan(pass, towards);
    const [channels, lengths] =
      towards === 'output' ? [grid.outChannels, grid.outLengths] : [grid.inChannels, grid.inLengths];
    const places = countOf(lengths);
    const rows = grid.samples * places;
    const repeat = plan.size / (rows * channels);
    const isFirst = this.#isFirst && places > 1;
    const to = call.output(out);
    const y = isFirst || repeat > 1 ? call.scratch(plan.size * 4) : to;
    const tables = call.scratch(tableBytes(plan));
    // a bias is added behind the sums, where channels are summed up
    const within = repeat > 1 ? 0 : bias;
    runPlan(current, plan, { x: source, packed, bias: within, residual: 0, y, tables });
    let last = y;
    if (repeat > 1) {
      last = isFirst ? call.scratch(rows * channels * 4) : to;
      sumRuns(current, y, last, rows * channels, repeat);
      if (bias) addBias(current.heap.f32, last >>> 2, rows, this.#bias!.values.now);
    }
    if (isFirst) transpose(current, last, to, grid.samples, places, channels);
  }

  /** Values with channels innermost: what is given, or a copy in scratch memory. */
  #channelsLast(call: Call, shape: readonly number[], x: number): number {
    const [samples, channels] = shape;
    const size = countOf(shape);
    const places = size / (samples * channels);
    if (!this.#isFirst || places === 1) return x;
    const at = call.scratch(size * 4);
    transpose(backend(), x, at, samples, channels, places);
    return at;
  }

  /** Gradients of weight and bias, nothing added yet; dy with channels innermost. */
  #sumGradients(
    call: Call,
    pass: ConvPass,
    x: TensorLike,
    dy: number,
  ): { weight: Float32Array | undefined; bias: Float64Array | undefined } {
    const current = backend();
    const { transposed } = this.#spec;
    const { shape } = pass.plan;
    const plan = this.#plan(pass, 'weights');
    let weight: Float32Array | undefined;
    if (!this.#weight.frozen) {
      const given = call.input(x);
      // of a transposed one dy takes the place of the inputs, x that of the gradient
      const source = transposed ? this.#source(call, plan, dy, false) : this.#source(call, plan, given, this.#isFirst);
      const other = transposed ? this.#channelsLast(call, shape, given) : dy;
      const dw = call.scratch(gradientLength(plan) * 4);
      runWeights(current, plan, source, other, dw, call.scratch(tableBytes(plan)));
      weight = unpackGradient(current, plan, dw);
    }
    if (!this.#bias || this.#bias.frozen) return { weight, bias: undefined };
    const cols = this.outChannels;
    const at = call.scratch(cols * 8);
    training(current).kernels.column_sums_f32(dy, at, countOf(pass.outShape!) / cols, cols);
    return { weight, bias: doubles(current.heap, at, cols).slice() };
  }

  #addGradients({ weight, bias }: { weight: Float32Array | undefined; bias: Float64Array | undefined }): void {
    if (weight) addToGradient(this.#weight, weight);
    if (bias) addToGradient(this.#bias, bias);
  }
}

function addBias(f32: Float32Array, at: number, rows: number, bias: Float32Array): void {
  for (let r = 0, i = at; r < rows; r++) for (let c = 0; c < bias.length; c++) f32[i++] += bias[c];
}

/**
 * Convolution along one axis of `[N, C, L]`; with `layout: 'channels-last'` of `[N, L, C]`:
 *
 *   y[n, o, t] = b[o] + Σ w[o, c, k]·x[n, c, t·stride + k·dilation − before]
 *
 * with `before` the zeros in front of the input. Backward returns dx, and adds to `weight.grad` and
 * `bias.grad`; `out` must lie apart from x. Names, layout of the weight (`[out, in/groups,
 * kernel]`) and its first values are PyTorch's.
 *
 *     const conv = new Conv1d(8, 16, 3, { padding: 1 });
 *     const y = conv.forward({ data, shape: [4, 8, 100] });   // [4, 16, 100]
 */
export class Conv1d extends ConvLayer<3> {
  static override readonly name: string = 'Conv1d';

  /**
   * @param inChannels channels of the input, a multiple of `groups`; `null`: those of the first
   *   input, or of `build(shape)`, until which there are no parameters
   * @param outChannels channels of the output, a multiple of `groups`
   * @param kernelSize length of the window
   * @throws ERR_OPTION for channels or a kernel that are not positive integers, channels that
   *   groups do not divide, negative padding, a stride of 0, an unknown option; ERR_MEMORY for more
   *   weights than 4 GiB hold
   */
  constructor(inChannels: number | null, outChannels: number, kernelSize: PerAxis, options: ConvOptions = {}) {
    super({ name: 'Conv1d', axes: 1, transposed: false }, inChannels, outChannels, kernelSize, options);
  }
}

/**
 * Convolution along two axes of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`.
 * Formula and options are those of `Conv1d`; the weight is `[out, in/groups, kH, kW]`.
 *
 *     const conv = new Conv2d(3, 64, 3, { padding: 'same', bias: false });
 *     const y = conv.forward({ data, shape: [1, 3, 224, 224] });   // [1, 64, 224, 224]
 */
export class Conv2d extends ConvLayer<4> {
  static override readonly name: string = 'Conv2d';

  /**
   * @param inChannels channels of the input, a multiple of `groups`; `null`: those of the first
   *   input, or of `build(shape)`, until which there are no parameters
   * @param outChannels channels of the output, a multiple of `groups`
   * @param kernelSize length of the window: a number for both axes, or `[kH, kW]`
   * @throws as `Conv1d`
   */
  constructor(inChannels: number | null, outChannels: number, kernelSize: PerAxis, options: ConvOptions = {}) {
    super({ name: 'Conv2d', axes: 2, transposed: false }, inChannels, outChannels, kernelSize, options);
  }
}

/**
 * Convolution along three axes of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H,
 * W, C]`. Formula and options are those of `Conv1d`; the weight is `[out, in/groups, kD, kH, kW]`.
 *
 *     const conv = new Conv3d(1, 8, 3, { padding: 1 });
 *     const y = conv.forward({ data, shape: [1, 1, 16, 32, 32] });   // [1, 8, 16, 32, 32]
 */
export class Conv3d extends ConvLayer<5> {
  static override readonly name: string = 'Conv3d';

  /**
   * @param inChannels channels of the input, a multiple of `groups`; `null`: those of the first
   *   input, or of `build(shape)`, until which there are no parameters
   * @param outChannels channels of the output, a multiple of `groups`
   * @param kernelSize length of the window: a number for all axes, or `[kD, kH, kW]`
   * @throws as `Conv1d`
   */
  constructor(inChannels: number | null, outChannels: number, kernelSize: PerAxis, options: ConvOptions = {}) {
    super({ name: 'Conv3d', axes: 3, transposed: false }, inChannels, outChannels, kernelSize, options);
  }
}

/**
 * Transposed convolution along one axis, the gradient of a convolution with respect to its input:
 *
 *   y[n, o, t·stride + k·dilation − padding] += w[c, o, k]·x[n, c, t]
 *
 * x is `[N, C, L]`, or `[N, L, C]` with `layout: 'channels-last'`; the output has length (L −
 * 1)·stride − 2·padding + dilation·(kernel − 1) + outputPadding + 1. Names and layout of the
 * weight, `[in, out/groups, kernel]`, are PyTorch's.
 *
 *     const up = new ConvTranspose1d(16, 8, 4, { stride: 2, padding: 1 });
 *     const y = up.forward({ data, shape: [4, 16, 50] });   // [4, 8, 100]
 */
export class ConvTranspose1d extends ConvLayer<3> {
  static override readonly name: string = 'ConvTranspose1d';

  /**
   * @param inChannels channels of the input, a multiple of `groups`; `null`: those of the first
   *   input, or of `build(shape)`, until which there are no parameters
   * @param outChannels channels of the output, a multiple of `groups`
   * @param kernelSize length of the window
   * @throws as `Conv1d`; ERR_OPTION for an outputPadding that is not less than stride or dilation
   */
  constructor(inChannels: number | null, outChannels: number, kernelSize: PerAxis, options: ConvTransposeOptions = {}) {
    super({ name: 'ConvTranspose1d', axes: 1, transposed: true }, inChannels, outChannels, kernelSize, options);
  }
}

/**
 * Transposed convolution along two axes of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N,
 * H, W, C]`. Formula and options are those of `ConvTranspose1d`; the weight is `[in, out/groups,
 * kH, kW]`.
 *
 *     const up = new ConvTranspose2d(64, 32, 2, { stride: 2 });
 *     const y = up.forward({ data, shape: [1, 64, 28, 28] });   // [1, 32, 56, 56]
 */
export class ConvTranspose2d extends ConvLayer<4> {
  static override readonly name: string = 'ConvTranspose2d';

  /**
   * @param inChannels channels of the input, a multiple of `groups`; `null`: those of the first
   *   input, or of `build(shape)`, until which there are no parameters
   * @param outChannels channels of the output, a multiple of `groups`
   * @param kernelSize length of the window: a number for both axes, or `[kH, kW]`
   * @throws as `ConvTranspose1d`
   */
  constructor(inChannels: number | null, outChannels: number, kernelSize: PerAxis, options: ConvTransposeOptions = {}) {
    super({ name: 'ConvTranspose2d', axes: 2, transposed: true }, inChannels, outChannels, kernelSize, options);
  }
}

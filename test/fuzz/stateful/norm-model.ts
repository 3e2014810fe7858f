// What norms give, by their formulas in f64: outputs, gradients and running statistics, from the
// state that the layer had before the call. And which calls must be refused, by which code.

import type { BatchNorm, DomainBatchNorm, StateDict } from '../../../src/index.ts';
import { type ActivationName, activate, activationCode, derivative } from '../../../src/kernels/activations.ts';
import { Dice } from '../dice.ts';
import { type BackwardCall, type Call, channelAxis, countOf, type ForwardCall, valuesOf } from './calls.ts';
import type { Instance, Outcome } from './instance.ts';
import type { Expectation, Model } from './model.ts';
import { placeOf, placesOf, weightsOf } from './places.ts';
import { type Settings, type Subject, settingsOf } from './subjects.ts';
import { firstWrong, STRICT, TINY, type Truth, truth } from './truth.ts';

/** Values that share statistics. */
interface Cell {
  readonly places: readonly number[];
  /** Σw, and what the values are worth: (Σw)²/Σw². */
  total: number;
  effective: number;
  mean: number;
  variance: number;
  /** Does the gradient go through the statistics? */
  own: boolean;
  /** Batch renormalization's correction. */
  r: number;
  d: number;
}

interface Running {
  /** Of the names in the state dict. */
  readonly prefix: string;
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly batches: number;
  /** Rows behind each time step. */
  readonly counts: Float64Array | undefined;
}

interface Saved {
  readonly shape: readonly number[];
  readonly x: Float32Array;
  readonly weights: Float32Array | undefined;
  readonly cells: readonly Cell[];
  readonly xhat: Float64Array;
  /** Before the activation. */
  readonly z: Float64Array;
  readonly zScale: Float64Array;
  readonly hasResidual: boolean;
  readonly gamma: Float64Array;
  /** An input was written over. */
  lost: boolean;
  disposed: boolean;
  /** Parameters have changed since: only the twin can judge. */
  stale: boolean;
}

const CORNERS: Partial<Record<ActivationName, readonly number[]>> = {
  relu: [0],
  relu6: [0, 6],
  'leaky-relu': [0],
  elu: [0],
  'hard-swish': [-3, 3],
  'hard-sigmoid': [-3, 3],
};

export class NormModel implements Model {
  readonly #subject: Subject;
  readonly #settings: Settings;
  #saved: Saved | undefined;
  #micro: { saved: Saved; sizes: number[] } | undefined;
  /** What the last forward was. */
  #by: 'one' | 'several' | undefined;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#settings = settingsOf(subject);
  }

  expect(call: Call, instance: Instance): Expectation | undefined {
    switch (call.do) {
      case 'forward':
        return this.#forward(call, instance);
      case 'backward':
        return this.#backward(call, instance);
      case 'micro':
        return this.#forwardMicro(call, instance);
      case 'microBack':
        return this.#backwardMicro(call, instance);
      case 'freeze':
        return this.#tracks ? {} : { codes: ['ERR_MODE'] };
      case 'reset':
        return { note: () => this.#forget() };
      case 'dispose':
        return { note: () => this.#forget() };
      case 'disposeX':
        return {
          note: () => {
            if (this.#saved && instance.last && 'disposed' in instance.last.x) this.#saved.disposed = true;
          },
        };
      case 'load':
      case 'write':
      case 'step':
      case 'domain':
        return {
          note: () => {
            if (this.#saved) this.#saved.stale = true;
            if (this.#micro) this.#micro.saved.stale = true;
          },
        };
      default:
        return {};
    }
  }

  #forget(): void {
    this.#saved = this.#micro = this.#by = undefined;
  }

  get #tracks(): boolean {
    const { kind } = this.#subject;
    if (/^(Layer|RMS|Group)/.test(kind)) return false;
    return this.#settings.trackRunningStats ?? !kind.startsWith('Instance');
  }

  get #isRows(): boolean {
    return /^(Layer|RMS)/.test(this.#subject.kind);
  }

  get #columns(): number {
    const [first] = this.#subject.args;
    return this.#isRows ? countOf(Array.isArray(first) ? first : [first as number]) : this.#subject.channels;
  }

  #channelOf(shape: readonly number[]): (index: number) => number {
    if (this.#isRows) return (index) => index % this.#columns;
    const axis = channelAxis(this.#subject, shape.length);
    const inner = countOf(shape.slice(axis + 1));
    return (index) => Math.floor(index / inner) % this.#columns;
  }

  #vector(state: StateDict, name: 'gamma' | 'beta', otherwise: number): Float64Array {
    const values = state[name]?.data as Float32Array | undefined;
    return values ? Float64Array.from(values) : new Float64Array(this.#columns).fill(otherwise);
  }

  /** Running statistics as they are: of a layer, or of the time steps. */
  #running(state: StateDict, layer: DomainBatchNorm): Running {
    const prefix = this.#subject.kind === 'DomainBatchNorm' ? `${layer.domain}.` : '';
    const of = (name: string) => Float64Array.from(state[prefix + name].data as ArrayLike<number>);
    const steps = this.#subject.kind === 'RecurrentBatchNorm1d';
    return {
      prefix,
      mean: of('runningMean'),
      variance: of('runningVar'),
      batches: of('batchesTracked')[0],
      counts: steps ? of('stepCounts') : undefined,
    };
  }

  #forward(call: ForwardCall, instance: Instance): Expectation {
    const { layer, last } = instance;
    const { shape } = call;
    const again = instance.repeats(call);
    if (again && 'disposed' in last!.x && last!.x.disposed) return { codes: ['ERR_DISPOSED'] };
    const x = valuesOf(this.#subject, shape, call.values, call.seed);
    const residual = call.residual && new Dice(call.seed + 1).normals(x.length);
    const weights = weightsOf(this.#subject, shape, placesOf(this.#subject, call));
    const found = this.#normalize(x, shape, weights, residual, layer as BatchNorm, false);
    // what the layer keeps has other values now, whatever becomes of the call
    const spoilt = () => {
      if (again && this.#saved) this.#saved.stale = true;
    };
    if ('codes' in found) return { codes: found.codes, note: spoilt };
    const { saved, truths, after } = found;
    saved.lost = x.length > 0 && (call.out === 'x' || call.out === 'residual');
    return {
      check: ({ outputs }) => firstWrong(truths, outputs![0]) ?? after?.(layer.stateDict()),
      note: () => {
        this.#saved = saved;
        this.#micro = undefined;
        this.#by = 'one';
      },
    };
  }

  #forwardMicro(call: Call & { do: 'micro' }, { layer }: Instance): Expectation {
    const { kind } = this.#subject;
    const bn = layer as BatchNorm;
    const together = /^(Batch|Domain)/.test(kind) && bn.training && !bn.frozen;
    if (!together) {
      const note = () => {
        this.#saved = this.#micro = undefined;
        this.#by = 'several';
      };
      return { note, unsure: true };
    }
    const parts = call.shapes.map((shape, i) => valuesOf(this.#subject, shape, 'lopsided', call.seed + i));
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    const x = new Float32Array(size);
    let at = 0;
    for (const part of parts) {
      x.set(part, at);
      at += part.length;
    }
    const samples = call.shapes.reduce((sum, [first]) => sum + first, 0);
    const found = this.#normalize(x, [samples, ...call.shapes[0].slice(1)], undefined, undefined, bn, true);
    if ('codes' in found) return { codes: found.codes };
    return {
      check: ({ outputs }) => firstWrong(found.truths, joined(outputs!)) ?? found.after?.(layer.stateDict()),
      note: () => {
        this.#saved = undefined;
        this.#micro = { saved: found.saved, sizes: parts.map(({ length }) => length) };
        this.#by = 'several';
      },
    };
  }

  #backwardMicro(call: Call & { do: 'microBack' }, { layer }: Instance): Expectation {
    if (this.#by !== 'several' || !this.#micro) return { unsure: true };
    const { saved, sizes } = this.#micro;
    if (saved.stale) return { unsure: true };
    const dice = new Dice(call.seed);
    const dy = joined(sizes.map((size) => dice.normals(size)));
    return this.#gradients(saved, dy, layer as BatchNorm, ({ outputs }) => [joined(outputs!)]);
  }

  /** The cells of a batch, without statistics; for norms of batches run by run. */
  #cells(shape: readonly number[], weights: Float32Array | undefined, layer: BatchNorm, whole: boolean): Cell[][] {
    const { kind, args } = this.#subject;
    const channelOf = this.#channelOf(shape);
    const size = countOf(shape);
    const perSample = size / shape[0];
    const runs = new Map<number, Map<number, number[]>>();
    const virtual =
      layer.training && !layer.frozen && !whole ? (this.#settings.virtualBatchSize ?? shape[0]) : shape[0];
    for (let i = 0; i < size; i++) {
      if (weights && weights[i] === 0) continue;
      const sample = Math.floor(i / perSample);
      const c = channelOf(i);
      let [run, key] = [Math.floor(sample / virtual), c];
      if (this.#isRows) [run, key] = [Math.floor(i / this.#columns), 0];
      else if (kind.startsWith('Instance')) run = sample;
      else if (kind === 'GroupNorm') [run, key] = [sample, Math.floor((c * (args[0] as number)) / this.#columns)];
      else if (kind === 'RecurrentBatchNorm1d') run = placeOf(shape, i)[1];
      const cells = runs.get(run) ?? new Map<number, number[]>();
      runs.set(run, cells);
      const places = cells.get(key) ?? [];
      cells.set(key, places);
      places.push(i);
    }
    const width = this.#isRows ? 1 : kind === 'GroupNorm' ? (args[0] as number) : this.#columns;
    const many = kind === 'RecurrentBatchNorm1d' ? Math.max(-1, ...runs.keys()) + 1 : this.#runsOf(shape, virtual);
    return Array.from({ length: many }, (_, run) =>
      Array.from({ length: width }, (_, key) => this.#cell(runs.get(run)?.get(key) ?? [], weights)),
    );
  }

  #runsOf(shape: readonly number[], virtual: number): number {
    if (this.#isRows) return countOf(shape) / this.#columns;
    return /^(Instance|Group)/.test(this.#subject.kind) ? shape[0] : Math.ceil(shape[0] / virtual);
  }

  #cell(places: readonly number[], weights: Float32Array | undefined): Cell {
    let total = 0;
    let squares = 0;
    for (const i of places) {
      const w = weights ? weights[i] : 1;
      total += w;
      squares += w * w;
    }
    const effective = total === 0 ? 0 : (total * total) / squares;
    return { places, total, effective, mean: 0, variance: 0, own: true, r: 1, d: 0 };
  }

  #normalize(
    x: Float32Array,
    shape: readonly number[],
    weights: Float32Array | undefined,
    residual: Float32Array | undefined,
    layer: BatchNorm,
    whole: boolean,
  ):
    | { codes: string[] }
    | { saved: Saved; truths: Truth; after: ((state: StateDict) => string | undefined) | undefined } {
    const state = layer.stateDict();
    const { kind } = this.#subject;
    const eps = this.#settings.eps ?? 1e-5;
    const y = truth('y', x.length);
    const xhat = new Float64Array(x.length);
    const z = new Float64Array(x.length);
    const zScale = new Float64Array(x.length);
    const gamma = this.#vector(state, 'gamma', 1);
    const beta = this.#vector(state, 'beta', 0);
    const channelOf = this.#channelOf(shape);
    const running = this.#tracks ? this.#running(state, layer as unknown as DomainBatchNorm) : undefined;
    const saved: Saved = {
      shape,
      x,
      weights,
      cells: [],
      xhat,
      z,
      zScale,
      hasResidual: !!residual,
      gamma,
      lost: false,
      disposed: false,
      stale: false,
    };
    if (x.length === 0) {
      const counts = layer.training && !layer.frozen && running && /^(Batch|Domain)/.test(kind) && !whole;
      const more = counts && this.#settings.momentum !== null ? 1 : 0;
      const batches = `${running?.prefix}batchesTracked`;
      return { saved, truths: y, after: unchanged(state, batches, (running?.batches ?? 0) + more) };
    }
    const runs = this.#cells(shape, weights, layer, whole);
    if (kind === 'RecurrentBatchNorm1d' && runs.length === 0 && layer.training && !layer.frozen)
      return { codes: ['ERR_MASK'] };
    const tracked: { run: number; count: number; online: boolean }[] = [];
    const byRunning = layer.frozen || (!layer.training && !!running);
    for (const [run, cells] of runs.entries()) {
      // a group in which nothing counts is 0 everywhere
      const filled = kind === 'GroupNorm' ? cells.filter(({ places }) => places.length > 0) : cells;
      const least = Math.min(...filled.map(({ effective }) => effective));
      const count = weights ? (least <= 1 + 1e-9 ? Math.round(least) : least) : cells[0].effective;
      const unreached = kind === 'RecurrentBatchNorm1d' && cells.every(({ places }) => places.length === 0);
      for (const cell of cells) statistics(cell, x, weights, kind === 'RMSNorm');
      let by: 'batch' | 'running' | 'online' = 'batch';
      if (byRunning || unreached) by = 'running';
      else if (!this.#isRows && count <= 1) {
        const single = this.#single(count, !!weights, whole, layer.training);
        if (typeof single !== 'string') return single;
        by = single;
      }
      if (kind === 'RecurrentBatchNorm1d' && !unreached) {
        const trained = running!.counts!.findLastIndex((rows) => rows > 0) + 1;
        const most =
          by !== 'running' ? this.#settings.maxSteps : this.#settings.beyond === 'throw' ? trained : Infinity;
        if (run >= most) return { codes: ['ERR_SHAPE'] };
      }
      if (by !== 'running') tracked.push({ run, count, online: by === 'online' });
      if (by === 'batch') this.#renormalize(cells, running, eps, layer);
      else this.#useRunning(cells, running!, run);
    }
    const batch = tracked.filter(({ online }) => !online);
    const isWithinRange = (run: number) =>
      runs[run].every(
        ({ mean, variance }) => Number.isFinite(Math.fround(mean)) && Number.isFinite(Math.fround(variance)),
      );
    if (layer.training && this.#settings.onNonFinite === 'throw' && !batch.every(({ run }) => isWithinRange(run)))
      return { codes: ['ERR_NON_FINITE'] };
    // the map, cell by cell
    for (const cell of runs.flat()) {
      const inv = 1 / Math.sqrt(cell.variance + eps);
      let most = 0;
      let scale = 0;
      for (const i of cell.places) {
        const c = channelOf(i);
        xhat[i] = (kind === 'RMSNorm' ? x[i] : x[i] - cell.mean) * inv;
        if (cell.own) xhat[i] = xhat[i] * cell.r + cell.d;
        z[i] = xhat[i] * gamma[c] + beta[c] + (residual?.[i] ?? 0);
        const reach = cell.own
          ? Math.abs(xhat[i]) + 2 * Math.abs(cell.d)
          : Math.abs(xhat[i]) + this.#away(cell, inv, x[i]);
        scale = Math.max(
          scale,
          Math.abs(gamma[c]) * (reach + (inv * cell.r * TINY) / 2 ** -24) +
            Math.abs(beta[c]) +
            Math.abs(residual?.[i] ?? 0),
        );
        most = Math.max(most, Math.abs(z[i]));
      }
      for (const i of cell.places) zScale[i] = Math.max(scale, most);
    }
    this.#activated(saved, y, runs);
    const after =
      layer.training && running
        ? this.#moved(saved, runs, tracked, isWithinRange, running, layer, state)
        : unchanged(state);
    return { saved: { ...saved, cells: runs.flat() }, truths: y, after };
  }

  /**
   * How much further than x̂ the operands of evaluation reach: it may work out x·scale + shift
   * where the mean is not far from 0.
   */
  #away(cell: Cell, inv: number, x: number): number {
    const far = Math.abs(cell.mean) * inv;
    return EVALUATION === 'affine' ? Math.abs(x) * inv + far : Math.min(far, 2);
  }

  #activated({ z, zScale, weights }: Saved, y: Truth, runs: readonly Cell[][]): void {
    const { activation } = this.#settings;
    const code = activationCode('model', activation);
    const steep = Math.max(1.2, Math.abs(activation?.slope ?? 0), Math.abs(activation?.alpha ?? 0));
    for (const { places } of runs.flat()) {
      let most = 0;
      for (const i of places) {
        y.values[i] = activate(code.kind, z[i], code.alpha);
        most = Math.max(most, Math.abs(y.values[i]));
      }
      for (const i of places) y.tolerance[i] = STRICT * (Math.max((activation ? steep : 1) * zScale[i], most) + TINY);
    }
    // what does not count is 0
    for (let i = 0; weights && i < z.length; i++) if (weights[i] === 0) y.values[i] = y.tolerance[i] = 0;
  }

  /** One value in a run that has statistics of its own. */
  #single(count: number, masked: boolean, whole: boolean, training: boolean): 'batch' | 'online' | { codes: string[] } {
    const { kind } = this.#subject;
    if (kind.startsWith('Instance') && !training) return 'batch';
    if (masked && count === 0) return { codes: ['ERR_MASK'] };
    const standard = kind === 'RecurrentBatchNorm1d' ? 'use-running' : kind === 'GroupNorm' ? 'skip-update' : 'throw';
    const policy = this.#settings.onSingleValue ?? standard;
    if (policy === 'throw' || (whole && policy === 'use-running')) return { codes: ['ERR_SINGLE_VALUE'] };
    return policy === 'use-running' ? 'online' : 'batch';
  }

  #renormalize(cells: readonly Cell[], running: Running | undefined, eps: number, layer: BatchNorm): void {
    if (this.#subject.kind !== 'BatchRenorm' || !layer.training) return;
    const bound = (name: string, otherwise: number) =>
      this.#settings[name] === 'Infinity' ? Infinity : (this.#settings[name] ?? otherwise);
    const { batches } = running!;
    const rMax = bound('rMax', Math.min(Math.max(1, 1 + (2 * (batches - 5000)) / 35000), 3));
    const dMax = bound('dMax', Math.min(Math.max(0, (5 * (batches - 5000)) / 20000), 5));
    const rMin = bound('rMin', 1 / rMax);
    cells.forEach((cell, c) => {
      const sigma = Math.sqrt(running!.variance[c] + eps);
      cell.r = Math.min(Math.max(Math.sqrt(cell.variance + eps) / sigma, rMin), rMax);
      cell.d = Math.min(Math.max((cell.mean - running!.mean[c]) / sigma, -dMax), dMax);
    });
  }

  #useRunning(cells: readonly Cell[], running: Running, run: number): void {
    const { counts } = running;
    const own = counts ? stepStatistics(running as Running, counts, run, this.#columns, this.#settings) : running;
    cells.forEach((cell, c) => {
      // a run of one value learns from its own mean
      Object.assign(cell, { value: cell.mean, own: false, mean: own.mean[c], variance: own.variance[c] });
    });
  }

  /** What the running statistics must be after the call. */
  #moved(
    saved: Saved,
    runs: readonly Cell[][],
    tracked: readonly { run: number; count: number; online: boolean }[],
    isWithinRange: (run: number) => boolean,
    before: Running,
    layer: BatchNorm,
    state: StateDict,
  ): ((state: StateDict) => string | undefined) | undefined {
    const { kind } = this.#subject;
    const { momentum = 0.1, eps = 1e-5, runningVariance = 'unbiased', onNonFinite, average = 'std' } = this.#settings;
    const columns = this.#columns;
    const mean = truth('runningMean', before.mean.length);
    const variance = truth('runningVar', before.variance.length);
    mean.values.set(before.mean);
    variance.values.set(before.variance);
    const counts = before.counts?.slice();
    let { batches } = before;
    let moved = false;
    const put = (of: Truth, i: number, value: number, scale: number) => {
      of.values[i] = value;
      of.tolerance[i] += STRICT * Math.max(Math.abs(value), scale) + 8 * TINY;
    };
    const weight = (run: number, count: number) => {
      if (counts) {
        counts[run] += count;
        moved = true;
        return momentum ?? count / counts[run];
      }
      batches++;
      return momentum ?? 1 / batches;
    };
    const blend = (
      run: number,
      w: number,
      m: (c: number) => number,
      v: (c: number) => number,
      scaleOf: (c: number) => number,
    ) => {
      for (let c = 0; c < columns; c++) {
        const i = counts ? run * columns + c : c;
        put(mean, i, (1 - w) * mean.values[i] + w * m(c), (1 - w) * Math.abs(mean.values[i]) + w * scaleOf(c));
        const old = variance.values[i];
        if (kind === 'BatchRenorm' && average === 'std') {
          const own = w * Math.sqrt(runs[run][c].variance + eps);
          const std = (1 - w) * Math.sqrt(old + eps) + own;
          // the batch's variance may be off by twice the tolerance, as below: so much of std² comes of it
          const scale = old + eps + std * (std + own);
          put(variance, i, std < Infinity ? Math.max(std * std - eps, 0) : std, scale);
        } else put(variance, i, (1 - w) * old + w * v(c), 2 * w * v(c));
      }
    };
    const meanSize = (cell: Cell, x: Float32Array, weights: Float32Array | undefined) => {
      let sum = 0;
      for (const i of cell.places) sum += Math.abs(x[i]) * (weights ? weights[i] : 1);
      return sum / cell.total;
    };
    const { x, weights } = saved;
    const factor = (cell: Cell) => (runningVariance === 'unbiased' ? cell.effective / (cell.effective - 1) : 1);
    const batch = tracked.filter(({ online }) => !online);
    if (kind.startsWith('Instance')) {
      const counted = batch.filter(({ count }) => count > 1).map(({ run }) => runs[run]);
      const average = (of: (cell: Cell) => number) => (c: number) =>
        counted.reduce((sum, cells) => sum + of(cells[c]), 0) / counted.length;
      if (counted.length)
        blend(
          0,
          weight(0, 0),
          average((cell) => cell.mean),
          average((cell) => cell.variance * factor(cell)),
          average((cell) => meanSize(cell, x, weights)),
        );
      const singles = tracked.filter(({ online }) => online).map(({ run }) => runs[run]);
      const w = singles.length && weight(0, 1);
      for (let c = 0; singles.length && c < columns; c++) {
        const values = singles.map((cells) => Math.fround((cells[c] as Cell & { value: number }).value));
        const [old, middle] = [variance.values[c], mean.values[c]];
        const mean2 = (power: number) =>
          values.reduce((sum, value) => sum + (value - middle) ** power, 0) / values.length;
        const size = values.reduce((sum, value) => sum + Math.abs(value) + Math.abs(middle), 0);
        put(mean, c, middle + w * mean2(1), size);
        if (w < 1) put(variance, c, (1 - w) * (old + w * mean2(2)), w * size ** 2);
      }
    } else {
      for (const { run, count } of batch) {
        if (count <= 1 || (onNonFinite === 'skip-update' && !isWithinRange(run))) continue;
        const cells = runs[run];
        const w = weight(run, count);
        blend(
          run,
          w,
          (c) => cells[c].mean,
          (c) => cells[c].variance * factor(cells[c]),
          (c) => meanSize(cells[c], x, weights),
        );
      }
      for (const { run } of tracked.filter(({ online }) => online)) {
        const w = weight(run, 1);
        for (let c = 0; c < columns; c++) {
          const i = counts ? run * columns + c : c;
          const value = (runs[run][c] as Cell & { value: number }).value;
          const d = Math.fround(value) - mean.values[i];
          const old = variance.values[i];
          const size = meanSize(runs[run][c], x, weights);
          put(mean, i, mean.values[i] + w * d, Math.abs(mean.values[i]) + size);
          if (w < 1) put(variance, i, (1 - w) * (old + w * d * d), w * Math.abs(d) * (size + Math.abs(d)));
        }
      }
    }
    if (counts && moved) batches++;
    return (after) => {
      const got = this.#running(after, layer as unknown as DomainBatchNorm);
      if (got.batches !== batches) return `batchesTracked is ${got.batches} for ${batches}`;
      if (counts) {
        const at = counts.findIndex((count, t) => Math.abs(got.counts![t] - count) > 1e-6 * count);
        if (at >= 0) return `stepCounts[${at}] is ${got.counts![at]} for ${counts[at]}`;
      }
      const others = Object.keys(state).filter((name) => /running/.test(name) && !name.startsWith(got.prefix));
      const other = others.find((name) => !same(state[name].data as Float32Array, after[name].data as Float32Array));
      return other ? `${other} has moved` : (firstWrong(mean, got.mean) ?? firstWrong(variance, got.variance));
    };
  }

  #backward(call: BackwardCall, instance: Instance): Expectation {
    const saved = this.#saved;
    if (this.#by === 'several') return { unsure: true };
    if (!saved) return { codes: ['ERR_MODE'] };
    if (saved.lost) return { codes: ['ERR_MODE'] };
    if (saved.disposed) return { codes: ['ERR_DISPOSED'] };
    const lose = () => {
      if (call.out === 'x' && saved.x.length > 0) saved.lost = true;
    };
    if (saved.stale) return { unsure: true, note: lose };
    const dy = new Dice(call.seed).normals(saved.x.length);
    const expected = this.#gradients(saved, dy, instance.layer as BatchNorm, ({ outputs }) => [...outputs!]);
    return { ...expected, note: lose };
  }

  #gradients(
    saved: Saved,
    dy: Float32Array,
    layer: BatchNorm,
    outputsOf: (outcome: Outcome) => Float32Array[],
  ): Expectation {
    const { cells, x, xhat, z, zScale, weights, gamma, shape } = saved;
    const channelOf = this.#channelOf(shape);
    const { activation, eps = 1e-5 } = this.#settings;
    const code = activationCode('model', activation);
    const corners = CORNERS[(activation?.name ?? activation) as ActivationName] ?? [];
    const atCorner = z.some((value, i) =>
      corners.some((corner) => Math.abs(value - corner) <= STRICT * (zScale[i] + 1)),
    );
    const dx = truth('dx', x.length);
    const dz = truth('residualGrad', x.length);
    const columns = this.#columns;
    // terms of a channel are added up in f32 for a while: rounding grows with the root of how many
    const sums = STRICT * Math.max(1, Math.sqrt(Math.min(32, x.length / columns)) / 2);
    const [dgamma, dbeta] = [truth('gamma.grad', columns), truth('beta.grad', columns)];
    /** |dy| times what the rounding of z does to the derivative. */
    const size = new Float64Array(x.length);
    for (const { places } of cells) {
      for (const i of places) {
        dz.values[i] = dy[i] * (activation ? derivative(code.kind, z[i], code.alpha) : 1);
        size[i] = Math.abs(dy[i]) * (activation ? 1.2 + zScale[i] : 1);
        dz.tolerance[i] = STRICT * size[i];
      }
    }
    for (const cell of cells) {
      const inv = 1 / Math.sqrt(cell.variance + eps);
      let [sum, dot, sumSize, dotSize, most, mostW, mostWx] = [0, 0, 0, 0, 0, 0, 0];
      // a mean is rounded by the spread of the values that it is the mean of, of which a
      // parameter may see only one
      const spread = cell.places.reduce((most, i) => Math.max(most, Math.abs(xhat[i])), 0) / 8;
      const plain = (i: number) => (cell.own ? (xhat[i] - cell.d) / (cell.r || 1) : xhat[i]);
      for (const i of cell.places) {
        const c = channelOf(i);
        const g = dz.values[i] * gamma[c];
        const gSize = size[i] * Math.abs(gamma[c]);
        const w = weights ? weights[i] : 1;
        const hat = cell.r === 0 ? (x[i] - cell.mean) * inv : plain(i);
        sum += g;
        dot += g * hat;
        sumSize += gSize;
        dotSize += gSize * Math.abs(hat);
        most = Math.max(most, gSize);
        mostW = Math.max(mostW, w);
        mostWx = Math.max(mostWx, w * Math.abs(hat));
        dgamma.values[c] += dz.values[i] * xhat[i];
        dbeta.values[c] += dz.values[i];
        dgamma.tolerance[c] +=
          STRICT * size[i] * (Math.abs(xhat[i]) + spread + 2 * Math.abs(cell.d) + (inv * cell.r * TINY) / 2 ** -24);
        dbeta.tolerance[c] += sums * size[i];
      }
      const centred = this.#subject.kind !== 'RMSNorm';
      const scale = inv * cell.r * (cell.own ? most + (mostW * sumSize + mostWx * dotSize) / cell.total : most);
      for (const i of cell.places) {
        const g = dz.values[i] * gamma[channelOf(i)];
        const w = weights ? weights[i] : 1;
        const hat = cell.r === 0 ? (x[i] - cell.mean) * inv : plain(i);
        dx.values[i] = inv * cell.r * (cell.own ? g - (w / cell.total) * ((centred ? sum : 0) + hat * dot) : g);
        dx.tolerance[i] = STRICT * scale + 8 * TINY;
      }
    }
    const before = layer.parameters().map(({ grad }) => Float64Array.from(grad));
    const [g, b] = [layer.gamma, layer.beta];
    const parameters = [g && ([g, dgamma] as const), b && ([b, dbeta] as const)].filter((pair) => !!pair);
    return {
      check: (outcome) => {
        if (atCorner) return undefined;
        const [gotDx, gotDz] = outputsOf(outcome);
        let wrong = firstWrong(dx, gotDx);
        if (saved.hasResidual !== !!gotDz)
          wrong ??= saved.hasResidual ? 'no residualGrad' : 'a residualGrad without a residual';
        if (gotDz) wrong ??= firstWrong(dz, gotDz);
        for (const [p, [parameter, added]] of parameters.entries()) {
          const old = before[p];
          for (let c = 0; c < columns; c++) {
            added.values[c] = parameter.frozen ? old[c] : old[c] + added.values[c];
            added.tolerance[c] += STRICT * Math.abs(added.values[c]) + 8 * TINY;
          }
          wrong ??= firstWrong(added, parameter.grad);
        }
        return wrong;
      },
    };
  }
}

/** What evaluation is held to. */
const EVALUATION: 'affine' | 'strict' = 'strict';

function statistics(cell: Cell, x: Float32Array, weights: Float32Array | undefined, isRms: boolean): void {
  let sum = 0;
  for (const i of cell.places) sum += x[i] * (weights ? weights[i] : 1);
  cell.mean = isRms ? 0 : sum / cell.total;
  let squares = 0;
  for (const i of cell.places) squares += (x[i] - cell.mean) ** 2 * (weights ? weights[i] : 1);
  cell.variance = squares / cell.total;
}

/** Statistics by which a time step is evaluated. */
function stepStatistics(
  { mean, variance }: { mean: Float64Array; variance: Float64Array },
  counts: Float64Array,
  step: number,
  channels: number,
  { beyond = 'last', shrinkage = 0 }: Settings,
): { mean: Float64Array; variance: Float64Array } {
  const trained = counts.findLastIndex((rows) => rows > 0) + 1;
  const total = counts.reduce((sum, rows) => sum + rows, 0);
  const pooled = { mean: new Float64Array(channels), variance: new Float64Array(channels).fill(total ? 0 : 1) };
  for (let c = 0; c < channels; c++) {
    counts.forEach((rows, t) => {
      if (rows) pooled.mean[c] += (rows / total) * mean[t * channels + c];
    });
    counts.forEach((rows, t) => {
      if (rows)
        pooled.variance[c] +=
          (rows / total) * (variance[t * channels + c] + (mean[t * channels + c] - pooled.mean[c]) ** 2);
    });
  }
  const isOwn = step < trained || trained === 0;
  const index = isOwn ? Math.min(step, counts.length - 1) : trained - 1;
  const pull = shrinkage === 'Infinity' ? Infinity : shrinkage;
  let share = counts[index] === 0 ? (trained === 0 ? 1 : 0) : counts[index] / (counts[index] + pull);
  if (!isOwn && beyond === 'pooled') share = 0;
  const mix = (own: Float64Array, all: Float64Array) =>
    all.map(
      (value, c) => (share === 0 ? 0 : share * own[index * channels + c]) + (share === 1 ? 0 : (1 - share) * value),
    );
  return { mean: mix(mean, pooled.mean), variance: mix(variance, pooled.variance) };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** What must be as it was: everything, but for a count of batches that must be this. */
function unchanged(before: StateDict, batches = '', count = 0): (after: StateDict) => string | undefined {
  return (after) => {
    for (const name of Object.keys(before)) {
      const got = after[name].data as Float32Array;
      if (name === batches ? got[0] === count : same(got, before[name].data as Float32Array)) continue;
      return `${name} is [${[...got].slice(0, 4)}] for [${name === batches ? count : [...(before[name].data as Float32Array)].slice(0, 4)}]`;
    }
    return undefined;
  };
}

const same = (a: Float32Array, b: Float32Array) => a.every((value, i) => Object.is(value, b[i]));

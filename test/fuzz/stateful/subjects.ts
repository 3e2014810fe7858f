// What sequences of calls are tried on: layers, networks and cells as data, so that they can be
// printed and made again.

import {
  ActivationLayer,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  DomainBatchNorm,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type Layer,
  LayerNorm,
  Linear,
  RecurrentBatchNorm1d,
  Residual,
  RMSNorm,
  Sequential,
} from '../../../src/index.ts';
import { ACTIVATIONS } from '../../../src/kernels/activations.ts';
import type { Dice } from '../dice.ts';

type Constructor = new (...args: never[]) => Layer;

const LAYERS = {
  ActivationLayer,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  DomainBatchNorm,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  Linear,
  RecurrentBatchNorm1d,
  RMSNorm,
} as unknown as Record<string, Constructor>;

// biome-ignore lint/suspicious/noExplicitAny: options differ from layer to layer
export type Settings = Record<string, any>;

/** A layer as data. */
export interface Subject {
  readonly kind: string;
  /** What its constructor takes. */
  readonly args: readonly unknown[];
  /** Of `Sequential` and `Residual`. */
  readonly layers?: readonly Subject[];
  /** Ranks of inputs that it takes. */
  readonly ranks: readonly [number, number];
  /** Values along the channels' axis of an input; of activations and dropout any. */
  readonly channels: number;
}

export const settingsOf = ({ args }: Subject): Settings => (args.at(-1) ?? {}) as Settings;

/** The layer itself. Infinity is written `'Infinity'`. */
export function build({ kind, args, layers }: Subject): Layer {
  if (kind === 'Sequential') return new Sequential(...layers!.map(build));
  if (kind === 'Residual') return new Residual(...layers!.map(build));
  const given = args.map((arg) => {
    if (typeof arg !== 'object' || arg === null || Array.isArray(arg)) return arg;
    return Object.fromEntries(
      Object.entries(arg).map(([name, value]) => [name, value === 'Infinity' ? Infinity : value]),
    );
  });
  return new LAYERS[kind](...(given as never[]));
}

/** The subject as it would be written. */
export function write({ kind, args, layers }: Subject): string {
  const inside = layers ? layers.map(write) : args.map((arg) => JSON.stringify(arg).replace(/"Infinity"/g, 'Infinity'));
  return `new ${kind}(${inside.join(', ')})`;
}

export const isNetwork = ({ kind }: Subject) => kind === 'Sequential' || kind === 'Residual';
export const isCell = ({ kind }: Subject) => kind === 'BNGRUCell' || kind === 'BNLSTMCell';
export const isNorm = ({ kind }: Subject) => /Norm/.test(kind);
export const hasDropout = ({ kind, layers }: Subject): boolean => kind === 'Dropout' || !!layers?.some(hasDropout);

const GIVEN_ACTIVATIONS = [...ACTIVATIONS, { name: 'leaky-relu', slope: 0.3 }, { name: 'elu', alpha: 0.7 }];

/** Options that are given now and then; `undefined` stands for one that is left out. */
function some(dice: Dice, choices: Record<string, readonly unknown[]>): Settings {
  const settings: Settings = {};
  for (const [name, values] of Object.entries(choices)) if (dice.oneIn(2)) settings[name] = dice.of(values);
  return settings;
}

const AFFINE = [true, false, 'gamma', 'beta'];
const EPS = [1e-5, 1e-3, 1e-8, 0.1];

function batchOptions(dice: Dice): Settings {
  const settings = some(dice, {
    eps: EPS,
    momentum: [0.1, 0, 1, 0.37, null],
    affine: AFFINE,
    layout: ['channels-first', 'channels-last'],
    runningVariance: ['unbiased', 'biased'],
    onSingleValue: ['throw', 'use-running', 'skip-update'],
    onNonFinite: ['propagate', 'skip-update', 'throw'],
  });
  if (dice.oneIn(4)) settings.activation = dice.of(GIVEN_ACTIVATIONS);
  if (dice.oneIn(4)) settings.virtualBatchSize = dice.between(1, 3);
  if (dice.oneIn(6) && settings.onSingleValue !== 'use-running') settings.trackRunningStats = false;
  return settings;
}

const ANY_RANK = [2, 5] as const;

function norm(dice: Dice, channels: number): Subject {
  switch (dice.below(10)) {
    case 0:
      return { kind: 'BatchNorm1d', args: [channels, batchOptions(dice)], channels, ranks: [2, 3] };
    case 1:
      return { kind: 'BatchNorm2d', args: [channels, batchOptions(dice)], channels, ranks: [4, 4] };
    case 2:
      return { kind: 'BatchNorm3d', args: [channels, batchOptions(dice)], channels, ranks: [5, 5] };
    case 3: {
      const { trackRunningStats: _, ...rest } = batchOptions(dice);
      const bounds = some(dice, {
        rMax: [1, 3, 'Infinity'],
        dMax: [0, 5, 0.5],
        rMin: [0, 0.5],
        average: ['std', 'variance'],
      });
      return { kind: 'BatchRenorm', args: [channels, { ...rest, ...bounds }], channels, ranks: ANY_RANK };
    }
    case 4: {
      const { trackRunningStats: _, ...rest } = batchOptions(dice);
      return { kind: 'DomainBatchNorm', args: [channels, { ...rest, domains: ['a', 'b'] }], channels, ranks: ANY_RANK };
    }
    case 5: {
      const { layout: _, virtualBatchSize: _v, trackRunningStats: _t, ...rest } = batchOptions(dice);
      const own = some(dice, { gamma: [0.1, 1], beyond: ['last', 'pooled', 'throw'], shrinkage: [0, 3, 'Infinity'] });
      return {
        kind: 'RecurrentBatchNorm1d',
        args: [channels, { ...rest, ...own, maxSteps: 4 }],
        channels,
        ranks: [3, 3],
      };
    }
    case 6: {
      const groups = dice.of([1, 2, channels].filter((count) => channels % count === 0));
      const settings = some(dice, {
        eps: EPS,
        affine: AFFINE,
        layout: ['channels-first', 'channels-last'],
        onSingleValue: ['throw', 'skip-update'],
      });
      if (dice.oneIn(4)) settings.activation = dice.of(GIVEN_ACTIVATIONS);
      return { kind: 'GroupNorm', args: [groups, channels, settings], channels, ranks: [2, 4] };
    }
    case 7: {
      const rank = dice.between(1, 3);
      const settings = some(dice, {
        eps: EPS,
        affine: AFFINE,
        layout: ['channels-first', 'channels-last'],
        momentum: [0.1, 0, 1, 0.37, null],
        trackRunningStats: [true],
        runningVariance: ['unbiased', 'biased'],
        onSingleValue: ['throw', 'use-running', 'skip-update'],
      });
      if (settings.onSingleValue === 'use-running') settings.trackRunningStats = true;
      if (dice.oneIn(4)) settings.activation = dice.of(GIVEN_ACTIVATIONS);
      return { kind: `InstanceNorm${rank}d`, args: [channels, settings], channels, ranks: [rank + 2, rank + 2] };
    }
    default: {
      const settings = some(dice, { affine: AFFINE });
      settings.eps = dice.of(EPS);
      if (dice.oneIn(4)) settings.activation = dice.of(GIVEN_ACTIVATIONS);
      const shape = dice.oneIn(3) ? [dice.between(1, 3), channels] : channels;
      const least = dice.oneIn(3) ? 1 : 2;
      const ranks = (typeof shape === 'number' ? [least, 4] : [2, 4]) as readonly [number, number];
      return { kind: dice.of(['LayerNorm', 'RMSNorm']), args: [shape, settings], channels, ranks };
    }
  }
}

function linear(dice: Dice, features: number, to = dice.between(1, 9)): Subject {
  const settings: Settings = { seed: dice.seed() };
  if (dice.oneIn(3)) settings.bias = dice.oneIn(2);
  return { kind: 'Linear', args: [features, to, settings], channels: features, ranks: [2, 4] };
}

const activation = (dice: Dice): Subject => ({
  kind: 'ActivationLayer',
  args: [dice.of(GIVEN_ACTIVATIONS)],
  channels: 0,
  ranks: [1, 4],
});

const dropout = (dice: Dice): Subject => ({
  kind: 'Dropout',
  args: [dice.of([0, 0.3, 0.5, 1]), { seed: dice.seed() }],
  channels: 0,
  ranks: [1, 4],
});

/** Norms that rows [N, C] may go through. */
function flatNorm(dice: Dice, channels: number): Subject {
  if (dice.oneIn(3)) {
    const settings = { eps: dice.of(EPS), ...some(dice, { affine: AFFINE }) };
    return { kind: dice.of(['LayerNorm', 'RMSNorm']), args: [channels, settings], channels, ranks: [2, 2] };
  }
  const { layout: _, ...settings } = batchOptions(dice);
  if (dice.oneIn(5)) {
    const { trackRunningStats: _t, ...rest } = settings;
    return { kind: 'BatchRenorm', args: [channels, rest], channels, ranks: [2, 2] };
  }
  return { kind: 'BatchNorm1d', args: [channels, settings], channels, ranks: [2, 2] };
}

function network(dice: Dice, features: number, depth = 0): Subject {
  const layers: Subject[] = [];
  let width = features;
  for (let many = dice.between(1, 5 - 2 * depth); many > 0; many--) {
    switch (dice.below(depth ? 4 : 6)) {
      case 0: {
        const next = linear(dice, width);
        width = next.args[1] as number;
        layers.push(next);
        break;
      }
      case 1:
      case 2:
        layers.push(flatNorm(dice, width));
        break;
      case 3:
        layers.push(dice.oneIn(3) ? dropout(dice) : activation(dice));
        break;
      case 4: {
        const inner = network(dice, width, depth + 1);
        const back = widthBehind(inner, width) === width ? [] : [linear(dice, widthBehind(inner, width), width)];
        layers.push({ ...inner, kind: 'Residual', layers: [...inner.layers!, ...back] });
        break;
      }
      default: {
        const inner = network(dice, width, depth + 1);
        width = widthBehind(inner, width);
        layers.push(inner);
      }
    }
  }
  return { kind: 'Sequential', args: [], layers, channels: features, ranks: [2, 2] };
}

function widthBehind({ layers }: Subject, width: number): number {
  return layers!.reduce((now, { kind, args, layers }) => {
    if (kind === 'Linear') return args[1] as number;
    return kind === 'Sequential' ? widthBehind({ layers } as Subject, now) : now;
  }, width);
}

function cell(dice: Dice, features: number): Subject {
  const settings: Settings = { seed: dice.seed(), ...some(dice, { output: ['sequence', 'last'] }) };
  if (dice.oneIn(4)) settings.norm = false;
  else {
    const {
      layout: _,
      virtualBatchSize: _v,
      trackRunningStats: _t,
      affine: _a,
      activation: _c,
      ...rest
    } = batchOptions(dice);
    Object.assign(
      settings,
      rest,
      { maxSteps: 4 },
      some(dice, { gamma: [0.1, 1], beyond: ['last', 'pooled', 'throw'] }),
    );
  }
  return {
    kind: dice.of(['BNLSTMCell', 'BNGRUCell']),
    args: [features, dice.between(1, 4), settings],
    channels: features,
    ranks: [3, 3],
  };
}

/** Any of them. */
export function subject(dice: Dice): Subject {
  const channels = dice.of([1, 2, 3, 4, 5, 6, 8, 9]);
  const kind = dice.below(20);
  if (kind < 11) return norm(dice, channels);
  if (kind < 12) return linear(dice, channels);
  if (kind < 13) return dice.oneIn(2) ? activation(dice) : dropout(dice);
  if (kind < 18) return network(dice, channels);
  return cell(dice, channels);
}

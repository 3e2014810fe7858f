import { BatchNorm1d, type Layer, Linear, normal, Sequential, Sigmoid, Tanh } from 'evenkeel';
import { PIXELS } from './digits.ts';

export type ActivationKind = 'sigmoid' | 'tanh';

/** One setting of the experiment; both nets, with and without batch norm, are trained under it. */
export interface Setting {
  activation: ActivationKind;
  /** Standard deviation of the initial weights. */
  std: number;
  /** Learning rate at the first step; it falls linearly to 0 at the last. */
  lr: number;
  weightDecay: number;
}

export const SETTINGS: readonly Setting[] = [
  { activation: 'sigmoid', std: 0.1, lr: 0.2, weightDecay: 0 },
  { activation: 'tanh', std: 0.05, lr: 0.2, weightDecay: 1e-3 },
];

const HIDDEN = [100, 100, 100];

/**
 * The network of the batch norm paper (Ioffe & Szegedy 2015, section 4.1): three hidden layers of
 * 100 units, small Gaussian weights; with batch norm, between each linear layer and its activation.
 */
export function buildNet({ activation, std }: Setting, batchNorm: boolean, seed: number): Sequential {
  const layers: Layer[] = [];
  let inputs = PIXELS;
  HIDDEN.forEach((units, i) => {
    layers.push(new Linear(inputs, units, { init: normal(std), seed: 100 * seed + i }));
    if (batchNorm) layers.push(new BatchNorm1d(units));
    layers.push(activation === 'tanh' ? new Tanh() : new Sigmoid());
    inputs = units;
  });
  layers.push(new Linear(inputs, 10, { init: normal(std), seed: 100 * seed + HIDDEN.length }));
  return new Sequential(...layers);
}

/**
 * The part of a net that ends before its last activation: what it returns are the last hidden
 * layer's activation inputs.
 */
export function beforeLastActivation(net: Sequential): Sequential {
  return new Sequential(...net.layers.slice(0, -2));
}

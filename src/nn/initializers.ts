import { show, wrongValue } from '../errors.ts';
import { callable } from '../named-options.ts';
import type { Stored } from '../tensors/stored.ts';
import type { Random } from './random.ts';

/**
 * Fills a weight of shape `[fanOut, fanIn]`, row-major. Write your own, or take one of `normal`,
 * `xavierUniform`, `xavierNormal`, `heUniform`, `heNormal`, `torchUniform`.
 */
export type Initializer = (values: Float32Array, fanIn: number, fanOut: number, random: Random) => void;

/**
 * Normal with mean 0 and the given standard deviation.
 *
 *     new Linear(64, 10, { init: normal(0.02) });
 *
 * @param std standard deviation, finite, 0 or more. Default 1
 * @throws ERR_OPTION for anything else
 */
export function normal(std = 1): Initializer {
  if (typeof std !== 'number' || !(std >= 0) || std === Number.POSITIVE_INFINITY) {
    throw wrongValue('ERR_OPTION', 'normal', 'std', 'a finite number of 0 or more', show(std));
  }
  return (values, _fanIn, _fanOut, random) => {
    for (let i = 0; i < values.length; i++) values[i] = std * random.normal();
  };
}

/** Uniform in (−bound, bound). */
function uniform(values: Float32Array, bound: number, random: Random): void {
  for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.uniform() - 1);
}

/**
 * Uniform with variance 2/(fanIn + fanOut) (Glorot & Bengio 2010): for tanh and sigmoid.
 *
 *     new Linear(784, 100, { init: xavierUniform() });
 */
export function xavierUniform(): Initializer {
  return (values, fanIn, fanOut, random) => uniform(values, Math.sqrt(6 / (fanIn + fanOut)), random);
}

/**
 * Normal with variance 2/(fanIn + fanOut) (Glorot & Bengio 2010).
 *
 *     new Linear(784, 100, { init: xavierNormal() });
 */
export function xavierNormal(): Initializer {
  return (values, fanIn, fanOut, random) => normal(Math.sqrt(2 / (fanIn + fanOut)))(values, fanIn, fanOut, random);
}

/**
 * Uniform with variance 2/fanIn (He et al. 2015): for ReLU.
 *
 *     new Linear(784, 100, { init: heUniform() });
 */
export function heUniform(): Initializer {
  return (values, fanIn, _fanOut, random) => uniform(values, Math.sqrt(6 / fanIn), random);
}

/**
 * Normal with variance 2/fanIn (He et al. 2015).
 *
 *     new Conv2d(3, 64, 3, { init: heNormal() });
 */
export function heNormal(): Initializer {
  return (values, fanIn, fanOut, random) => normal(Math.sqrt(2 / fanIn))(values, fanIn, fanOut, random);
}

/**
 * Uniform in ±1/√fanIn: PyTorch's default for linear layers and convolutions.
 *
 *     new Linear(784, 100, { init: torchUniform() });
 */
export function torchUniform(): Initializer {
  return (values, fanIn, _fanOut, random) => uniform(values, 1 / Math.sqrt(fanIn), random);
}

/**
 * @internal Weights that begin as they are stored: the parameter takes that over, and nobody else
 * keeps it.
 */
export interface StoredInitializer extends Initializer {
  stored: Stored | undefined;
}

/** @internal */
export function startingAs(stored: Stored): StoredInitializer {
  const init: StoredInitializer = Object.assign((values: Float32Array) => init.stored?.write(values, 0), { stored });
  return init;
}

/** How weights begin, as an option; none: as the layer says. */
export const initializer = () => callable<Initializer>('an initializer');

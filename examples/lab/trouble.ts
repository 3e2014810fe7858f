// Why a net's loss stopped being finite, or what is wrong with a net that still trains.

import { ActivationLayer, type Layer, Linear, type Sequential, type TensorLike } from 'evenkeel';
import { percent } from './training.ts';
import { type Text, t } from './words.ts';

export interface Trouble {
  /** Which layer first gives a value that is not finite, counted from 1; undefined: none. */
  readonly layer: number | undefined;
  readonly kind: 'linear' | 'norm' | 'activation';
  /** Largest magnitude of a weight. */
  readonly weight: number;
  /** Share of hidden units that give one value for the whole batch. */
  readonly dead: number;
}

const kindOf = (layer: Layer) =>
  layer instanceof Linear ? 'linear' : layer instanceof ActivationLayer ? 'activation' : 'norm';

/** Runs a batch through the net, layer by layer; the net's state is as it was afterwards. */
export function troubleOf(net: Sequential, x: TensorLike): Trouble {
  const before = net.stateDict();
  let values = x;
  let place: { layer: number; kind: Trouble['kind'] } | undefined;
  let [dead, hidden] = [0, 0];
  net.layers.forEach((layer, at) => {
    values = layer.forward(values);
    const { data, shape } = values as { data: Float32Array; shape: readonly number[] };
    if (!place && !data.every(Number.isFinite)) place = { layer: at + 1, kind: kindOf(layer) };
    if (!(layer instanceof ActivationLayer)) return;
    hidden += shape[1];
    dead += constantUnits(data, shape[1]);
  });
  net.loadStateDict(before);
  let weight = 0;
  for (const { data } of net.parameters()) for (const value of data) weight = Math.max(weight, Math.abs(value));
  return { layer: place?.layer, kind: place?.kind ?? 'linear', weight, dead: hidden ? dead / hidden : 0 };
}

/** How many columns hold one value only, or none that is a number. */
export function constantUnits(data: Float32Array, units: number): number {
  let many = 0;
  for (let c = 0; c < units; c++) {
    let isConstant = true;
    for (let k = c; k < data.length && isConstant; k += units) isConstant = !(Math.abs(data[k] - data[c]) > 1e-6);
    if (isConstant) many++;
  }
  return many;
}

const KINDS: Record<Trouble['kind'], Text> = {
  linear: t`linear`,
  norm: t`norm`,
  activation: t`activation`,
};

const large = (value: number): Text | string => (Number.isFinite(value) ? value.toPrecision(2) : t`beyond all numbers`);

export function explained({ layer, kind, weight, dead }: Trouble): Text {
  const place =
    layer === undefined
      ? t`the loss is not a finite number any more, though every layer's output is.`
      : t`the output of layer ${layer} (${KINDS[kind]}) is out of the range of 32-bit numbers (3.4e38), and the loss with it.`;
  return t`${place} Steps overshot: the largest weight is now ${large(weight)}; ${percent(dead)} of the hidden units are dead (they give one value for the whole batch).`;
}

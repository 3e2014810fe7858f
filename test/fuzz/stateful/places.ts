// Masks, lengths and weights of a call: as options, and as one weight for each value.

import { Dice } from '../dice.ts';
import { channelAxis, countOf, type ForwardCall } from './calls.ts';
import type { Subject } from './subjects.ts';

interface Field {
  readonly data: Float32Array | boolean[];
  readonly shape: number[];
}

export interface PlaceOptions {
  mask?: Field;
  weights?: Field;
  lengths?: number[];
}

/** The options of a call, made from its seed. */
export function placesOf(subject: Subject, call: ForwardCall): PlaceOptions {
  const { shape, seed, mask, lengths, weights } = call;
  const dice = new Dice(seed ^ 0x5bd1e995);
  const axis = channelAxis(subject, shape.length);
  const short = shape.filter((_, i) => i !== axis);
  const options: PlaceOptions = {};
  if (mask) {
    const of = mask === 'channels' ? [...shape] : mask === 'first' ? short.slice(0, 1) : short;
    const flags = Array.from({ length: countOf(of) }, () => !dice.oneIn(4));
    options.mask = { data: dice.oneIn(2) ? flags : Float32Array.from(flags, Number), shape: of };
  }
  if (weights) {
    const of = weights === 'channels' ? [...shape] : short;
    options.weights = {
      data: Float32Array.from({ length: countOf(of) }, () => (dice.oneIn(6) ? 0 : 0.25 + dice.uniform() * 2)),
      shape: of,
    };
  }
  if (lengths) {
    const steps = shape[axis === 1 ? 2 : 1];
    options.lengths = Array.from({ length: shape[0] }, () => dice.between(dice.oneIn(4) ? 0 : 1, steps));
  }
  return options;
}

/** The weight of each value; undefined where all count fully. */
export function weightsOf(subject: Subject, shape: readonly number[], options: PlaceOptions): Float32Array | undefined {
  if (!options.mask && !options.weights && !options.lengths) return undefined;
  const axis = channelAxis(subject, shape.length);
  const weights = new Float32Array(countOf(shape)).fill(1);
  const time = axis === 1 ? 2 : 1;
  for (let i = 0; i < weights.length; i++) {
    const place = placeOf(shape, i);
    for (const field of [options.mask, options.weights])
      if (field) weights[i] = Math.fround(weights[i] * valueAt(field, place, axis));
    if (options.lengths && place[time] >= options.lengths[place[0]]) weights[i] = 0;
  }
  return weights.every((weight) => weight === 1) ? undefined : weights;
}

export function placeOf(shape: readonly number[], index: number): number[] {
  const place = shape.map(() => 0);
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    place[axis] = rest % shape[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return place;
}

function valueAt({ data, shape }: Field, place: readonly number[], axis: number): number {
  const own = shape.length === place.length ? place : place.filter((_, i) => i !== axis);
  const at = shape.reduce((sum, length, i) => sum * length + (length === 1 ? 0 : own[i]), 0);
  return +data[at];
}

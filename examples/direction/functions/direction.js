// What both functions do: a picture in, how it lies out. The network is compiled once, when the
// first request comes. bundle.ts makes what lies in built/.

import {
  activations,
  arithmetic,
  convolutions,
  info,
  load,
  merging,
  pooling,
  reshaping,
  softmax,
} from 'evenkeel/infer';
import { directionOf, inputOf, sizesOf } from '../pixels.ts';
import degrees from './built/degrees.json';
import file from './built/network.evenkeel';

const MOST_SIDE = 4096;
const operations = [activations, arithmetic, convolutions, merging, pooling, reshaping, softmax];
let network;

/** What is wrong with a request, and not with us. */
export class BadRequest extends Error {}

/**
 * @param {{ get(name: string): string | null }} query `width` and `height`
 * @param {Uint8Array} data RGBA, a byte for each, row by row
 * @throws {BadRequest} for what is no picture
 */
export function answer(query, data) {
  const [width, height] = ['width', 'height'].map((name) => {
    const side = Number(query.get(name));
    if (Number.isInteger(side) && side >= 1 && side <= MOST_SIDE) return side;
    throw new BadRequest(`${name} expected a whole number from 1 to ${MOST_SIDE}, got ${query.get(name) ?? 'none'}`);
  });
  const size = 4 * width * height;
  if (data.length !== size) throw new BadRequest(`a picture expected ${size} bytes, got ${data.length}`);
  network ??= load(new Uint8Array(file), { operations });
  const sizes = sizesOf(network.inputs[0].shape);
  const { data: probabilities } = network(inputOf({ data, width, height }, sizes));
  return { direction: directionOf(probabilities, degrees), backend: info().backend };
}

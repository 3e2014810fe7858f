// The network in the page.

import { loadNetwork } from '../../../src/weights/index.ts';
import { SIDE } from '../pixels.ts';

/** Loads the model from an address; the function returned gives the probabilities of an image. */
export async function open(address: string): Promise<(image: Float32Array) => Promise<ArrayLike<number>>> {
  const run = (await loadNetwork(address)).compile();
  return async (image) => (run({ data: image, shape: [1, SIDE, SIDE, 3] }) as { data: Float32Array }).data;
}

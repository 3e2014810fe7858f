// The network, in a worker: an address comes first, then pictures.

import { loadNetwork } from 'evenkeel/weights';
import { type Direction, directionOf, inputOf, type Picture, sizesOf } from '../pixels.ts';

/** What the page sends: the network once, then pictures. */
export type Asked = { readonly model: string; readonly degrees: readonly number[] } | { readonly picture: Picture };
/** What comes back, one answer for each. */
export type Told =
  | { readonly ready: true }
  | { readonly direction: Direction; readonly ms: number }
  | { readonly error: string };

interface Scope {
  postMessage(told: Told): void;
  addEventListener(type: 'message', listener: (event: { data: Asked }) => void): void;
}

const scope = globalThis as unknown as Scope;
let say: ((picture: Picture) => Direction) | undefined;

async function open(model: string, degrees: readonly number[]): Promise<void> {
  const network = await loadNetwork(model);
  const run = network.compile();
  const sizes = sizesOf(network.inputs[0].shape);
  say = (picture) => directionOf((run(inputOf(picture, sizes)) as { data: Float32Array }).data, degrees);
}

async function answer(asked: Asked): Promise<Told> {
  if ('model' in asked) {
    await open(asked.model, asked.degrees);
    return { ready: true };
  }
  if (!say) return { error: 'a picture came before the network' };
  const start = performance.now();
  const direction = say(asked.picture);
  return { direction, ms: performance.now() - start };
}

scope.addEventListener('message', ({ data }) => {
  answer(data)
    .catch((error: Error): Told => ({ error: error.message }))
    .then((told) => scope.postMessage(told));
});

// What all three functions do: 784 grey bytes in, a digit and its probabilities out. The network is
// compiled once, when the first request comes.

import { info, load } from 'evenkeel/infer';
import file from './network.js';

const PIXELS = 784;
let network;

/** What is wrong with a request, and not with us. */
export class BadRequest extends Error {}

/**
 * @param {Uint8Array} grey 784 bytes, 0 to 255, row by row @throws {BadRequest} for any other
 *   number of them
 */
export function classify(grey) {
  if (grey.length !== PIXELS) throw new BadRequest(`${PIXELS} bytes expected, got ${grey.length}`);
  network ??= load(Uint8Array.from(atob(file), (c) => c.charCodeAt(0)));
  const { data: logits } = network({ data: Float32Array.from(grey, (value) => value / 255), shape: [1, PIXELS] });
  const top = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return { digit: logits.indexOf(top), probabilities: powers.map((value) => value / sum), backend: info().backend };
}

/** The same for hosts that speak fetch: POST the bytes. */
export async function respond(request) {
  if (request.method !== 'POST') return Response.json({ error: 'POST 784 bytes' }, { status: 405 });
  try {
    return Response.json(classify(new Uint8Array(await request.arrayBuffer())));
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return Response.json({ error: error.message }, { status: 400 });
  }
}

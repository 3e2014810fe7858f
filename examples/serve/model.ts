import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BatchNorm1d, type CompiledNetwork, Dropout, Linear, ReLU, Sequential } from 'evenkeel';
import { fromTorch, readSafetensors } from 'evenkeel/weights';

export const PIXELS = 784;
export const CLASSES = 10;

const WEIGHTS = fileURLToPath(new URL('./digits.safetensors', import.meta.url));

/**
 * The network that train.py trained, layer by layer; names in its state dict are the same, as both
 * are sequences.
 */
export function loadNetwork(): Sequential {
  const net = new Sequential(
    ...[PIXELS, 768].flatMap((inputs) => [new Linear(inputs, 768), new BatchNorm1d(768), new ReLU(), new Dropout(0.3)]),
    new Linear(768, CLASSES),
  );
  const { state, missing, unused } = fromTorch(readSafetensors(readFileSync(WEIGHTS)).tensors, { layer: net });
  if (missing.length + unused.length) throw new Error(`missing: ${missing.join(', ')}; not used: ${unused.join(', ')}`);
  net.loadStateDict(state);
  return net.eval();
}

/** The same, compiled for batches of up to `maxBatch` images. */
export function loadCompiled(maxBatch: number): CompiledNetwork {
  return loadNetwork().compile({ maxBatch });
}

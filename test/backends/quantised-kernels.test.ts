// Kernels that a TF.js file has in 8 or 16 bits, packed as they lie, with norms folded in: the bits
// are those of the same values as floats, and the values what the layers by themselves give.

import { expect, test } from 'vitest';
import { Random } from '../../src/nn/random.ts';
import { loadNetwork } from '../../src/weights/index.ts';
import { relative } from '../support/weights.ts';

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Variances are not below 0. */
  readonly isVariance?: boolean;
}

interface Layer {
  readonly class_name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: readonly Weight[];
}

const norm = (name: string, channels: number): Layer => ({
  class_name: 'BatchNormalization',
  config: { name, axis: -1 },
  weights: ['gamma', 'beta', 'moving_mean', 'moving_variance'].map((leaf) => ({
    name: `${name}/${leaf}`,
    shape: [channels],
    isVariance: leaf === 'moving_variance',
  })),
});

/** conv → norm → depthwise conv → norm → grouped conv → norm → transposed conv → norm → dense. */
function layersOf(
  channels: number,
  axes: 1 | 2,
  padding: string,
  multiplier: number,
  bias: boolean,
  taps: readonly number[],
): Layer[] {
  const window = (length: number) => new Array<number>(axes).fill(length);
  const wide = channels * multiplier;
  const layer = (class_name: string, name: string, kernel: Weight, outputs: number, config: object): Layer => ({
    class_name,
    config: { name, padding, use_bias: bias, ...config },
    weights: bias ? [kernel, { name: `${name}/bias`, shape: [outputs] }] : [kernel],
  });
  const weight = (name: string, ...shape: number[]): Weight => ({ name, shape });
  const size = (kernel: number, stride = 1) => ({ kernel_size: window(kernel), strides: window(stride) });
  const shape = [null, ...window(7), 3];
  return [
    { class_name: 'InputLayer', config: { name: 'x', batch_input_shape: shape }, weights: [] },
    layer(`Conv${axes}D`, 'a', weight('a/kernel', ...window(3), 3, channels), channels, {
      ...size(3),
      filters: channels,
    }),
    norm('a_norm', channels),
    layer(`DepthwiseConv${axes}D`, 'b', weight('b/depthwise_kernel', ...taps, channels, multiplier), wide, {
      kernel_size: taps,
      strides: window(1),
      depth_multiplier: multiplier,
    }),
    norm('b_norm', wide),
    layer(`Conv${axes}D`, 'c', weight('c/kernel', ...window(1), 1, 2 * wide), 2 * wide, {
      ...size(1),
      filters: 2 * wide,
      groups: wide,
    }),
    norm('c_norm', 2 * wide),
    layer(`Conv${axes}D`, 'd', weight('d/kernel', ...window(1), wide, 4), 4, { ...size(1), filters: 4, groups: 2 }),
    norm('d_norm', 4),
    layer(`Conv${axes}DTranspose`, 'e', weight('e/kernel', ...window(2), 5, 4), 5, { ...size(2, 2), filters: 5 }),
    norm('e_norm', 5),
    { class_name: `GlobalAveragePooling${axes}D`, config: { name: 'pool' }, weights: [] },
    {
      class_name: 'Dense',
      config: { name: 'f', units: 11, use_bias: true },
      weights: [weight('f/kernel', 5, 11), weight('f/bias', 11)],
    },
  ];
}

/** A model in one shard, with weights of some type, and the same in float32. */
function modelsOf(layers: readonly Layer[], dtype: 'uint8' | 'uint16', random: Random) {
  const all = layers.flatMap(({ weights }) => weights);
  const Codes = dtype === 'uint8' ? Uint8Array : Uint16Array;
  const parts = all.map(({ shape, isVariance }) => {
    const codes = new Codes(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < codes.length; i++) codes[i] = random.bits() >>> 8;
    const scale = (0.5 + random.uniform()) / (dtype === 'uint8' ? 255 : 65535);
    return { codes, scale, min: isVariance ? 0.25 : -0.5 };
  });
  const file = (shard: Uint8Array, isQuantised: boolean) => {
    const config = { name: 'net', layers: layers.map(({ class_name, config }) => ({ class_name, config })) };
    const weights = all.map(({ name, shape }, i) => {
      const { scale, min } = parts[i];
      return { name, shape, dtype: 'float32', ...(isQuantised && { quantization: { dtype, scale, min } }) };
    });
    const model = {
      format: 'layers-model',
      modelTopology: { keras_version: '2.15.0', model_config: { class_name: 'Sequential', config } },
      weightsManifest: [{ paths: ['one.bin'], weights }],
    };
    return { 'model.json': new TextEncoder().encode(JSON.stringify(model)), 'one.bin': shard };
  };
  const joined = (arrays: readonly Uint8Array[]) => Uint8Array.from(Buffer.concat(arrays));
  const bytesOf = ({ buffer, byteLength }: { buffer: ArrayBufferLike; byteLength: number }) =>
    new Uint8Array(buffer, 0, byteLength);
  const floats = parts.map(({ codes, scale, min }) => Float32Array.from(codes, (code) => code * scale + min));
  return {
    quantised: file(joined(parts.map(({ codes }) => bytesOf(codes))), true),
    plain: file(joined(floats.map(bytesOf)), false),
  };
}

const wide = [1, 2, 8, 9, 24, 37].flatMap((channels, i) =>
  [[2], [2, 2]].map((taps) => {
    const dtype = i % 3 === 2 ? ('uint16' as const) : ('uint8' as const);
    return { channels, taps, dtype, multiplier: channels === 1 || i % 2 ? 2 : 1 };
  }),
);
// rows of fewer channels than a panel has
const narrow = [2, 3, 5, 6].flatMap((channels) =>
  [[5], [7], [8], [3, 5], [4, 4], [2, 4]].map((taps) => ({ channels, taps, dtype: 'uint8' as const, multiplier: 1 })),
);

for (const { channels, taps, dtype, multiplier } of [...wide, ...narrow]) {
  const axes = taps.length as 1 | 2;
  const label = `${channels} channels, ${taps.join(' × ')} taps, ${dtype}, ${multiplier} outputs for each`;
  test(`quantised kernels are those values as floats: ${label}`, async () => {
    const random = new Random(channels + axes);
    const padding = channels % 2 || taps[0] > 2 ? 'same' : 'valid';
    const layers = layersOf(channels, axes, padding, multiplier, channels !== 8, taps);
    const models = modelsOf(layers, dtype, random);
    const [quantised, plain] = await Promise.all([loadNetwork(models.quantised), loadNetwork(models.plain)]);
    const shape = [2, ...(axes === 1 ? [7] : [7, 7]), 3];
    const x = { data: Float32Array.from({ length: 2 * 7 ** axes * 3 }, () => random.normal()), shape };
    const want = plain.compile()(x).data;
    // before anybody has asked for the weights, and after that
    expect(quantised.compile()(x).data).toEqual(want);
    expect(relative(quantised.forward(x).data, want)).toBeLessThanOrEqual(1e-5);
    expect(quantised.stateDict()).toEqual(plain.stateDict());
    expect(quantised.compile()(x).data).toEqual(want);
  });
}

// Statistics of a network's norms over files of images: a manifest's shards say which.
//
//   { "task": "./task.mjs", "shards": [{ "key": "images-000", "input": { "seed": 1 } }, …] }

import { BatchNorm2d, Conv2d, Random, ReLU, Sequential } from 'evenkeel';
import { statisticsTask } from 'evenkeel/shards';

/** In place of files: images that follow from a seed. */
function* images({ seed, batches = 4 }) {
  const random = new Random(seed);
  for (let i = 0; i < batches; i++) {
    yield { data: Float32Array.from({ length: 8 * 3 * 16 * 16 }, () => 100 + random.normal()), shape: [8, 3, 16, 16] };
  }
}

export default statisticsTask({
  // of the weights and of this file: another version is another run
  version: '1',
  net: () =>
    new Sequential(
      new Conv2d(3, 8, 3, { seed: 1, padding: 1 }),
      new BatchNorm2d(8),
      new ReLU(),
      new Conv2d(8, 16, 3, { seed: 2, stride: 2 }),
      new BatchNorm2d(16),
    ),
  batches: images,
});

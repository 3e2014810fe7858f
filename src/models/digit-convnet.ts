import { integer } from '../named-options.ts';
import { ReLU } from '../nn/activations.ts';
import { Graph, type Value } from '../nn/graph.ts';
import { Linear } from '../nn/linear.ts';
import { MaxPool2d } from '../nn/pool.ts';
import { type Convnet, ConvnetBuilder, imagesOf, type ModelOptions, readModel } from './convnet.ts';

/** Options of `digitConvnet`. */
export interface DigitConvnetOptions extends ModelOptions {
  /** Channels of the first convolution; the others have 2, 4 and 8 times as many. Default 16. */
  width?: number;
}

/**
 * A small convnet: four times a 3×3 convolution, norm and ReLU, with max pooling between them, then
 * the average of each channel and a linear layer. x `[N, channels, H, W]` of 8×8 or more, logits
 * `[N, classes]`; by default of one channel and ten classes, as digits are. Names: `conv1`, `bn1`,
 * …, `fc`.
 *
 * @throws ERR_OPTION for an unknown option or a value that one does not take
 */
export function digitConvnet(options: DigitConvnetOptions = {}): Convnet {
  const subject = 'digitConvnet';
  const model = readModel(subject, options, { classes: 10, channels: 1 }, { width: integer(1, 16) });
  const { layout, classes } = model;
  const { width } = model.settings;
  return new Graph(imagesOf(model), (g, { x }): Value => {
    const b = new ConvnetBuilder(subject, g, model);
    let y: Value = x;
    for (let i = 1; i <= 4; i++) {
      if (i > 1) y = b.apply(`pool${i - 1}`, new MaxPool2d(2, { layout }), y);
      y = b.norm(`bn${i}`, b.conv(`conv${i}`, y, width * 2 ** (i - 1), 3));
      y = b.apply(`relu${i}`, new ReLU(), y);
    }
    return b.apply('fc', new Linear(b.channelsOf(y), classes, { seed: b.seed() }), b.average(y));
  });
}

// What the networks of this folder share: options, and the steps that their graphs are built of.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { Layer } from '../layers/layer.ts';
import { layout as layoutOption } from '../layers/options.ts';
import {
  choice,
  integer,
  type Option,
  optional,
  readSchema,
  required,
  type Schema,
  seed as seedOption,
} from '../named-options.ts';
import { Conv2d } from '../nn/conv.ts';
import type { Graph, GraphBuilder, SymbolicShape, Value } from '../nn/graph.ts';
import type { Initializer } from '../nn/initializers.ts';
import { GlobalAvgPool } from '../nn/pool.ts';
import { Random } from '../nn/random.ts';
import { Flatten } from '../nn/reshape.ts';
import { BatchNorm2d } from '../norms/batch-norm-ranks.ts';
import type { Layout } from '../types.ts';

/** A network from images to logits: a Graph with the input `x` and one output. */
export type Convnet = Graph<
  {
    /** Images, `[channels, height, width]` or with channels last, of any size. */
    readonly x: SymbolicShape;
  },
  Value
>;

/** Makes the norm of so many channels: `(channels) => new GroupNorm(8, channels)`. */
export type NormFactory = (channels: number) => Layer;

/** Options of every network of `evenkeel/models`. */
export interface ModelOptions {
  /** Outputs, one for each class. Default 1000; of the digit nets 10. */
  classes?: number;
  /** Channels of the images. Default 3; of the digit nets 1. */
  channels?: number;
  /**
   * Makes each norm; called in the order of the layers. Default: `BatchNorm2d` with its own
   * defaults. `null`: no norms, and convolutions with a bias in their place.
   */
  norm?: NormFactory | null;
  /**
   * `'channels-first'`, `[N, C, H, W]`, default, or `'channels-last'`, `[N, H, W, C]`. Weights have
   * the same shapes either way.
   */
  layout?: Layout;
  /** Seed of the initial weights, and of dropout. Default: a different one every time. */
  seed?: number;
}

/** Options of networks with residual blocks. */
export interface ResidualOptions extends ModelOptions {
  /**
   * `true`: the last gamma of each residual block begins at 0, so that every block begins as the
   * identity (Goyal et al. 2017). Default `false`.
   */
  zeroLastGamma?: boolean;
}

/** Where a residual block has its norms. */
export type NormPlace = 'behind' | 'before';

/** Where residual blocks have their norms. */
export const normPlace = (): Option<NormPlace> => choice<NormPlace>('behind', ['behind', 'before']);

/** Blocks with norms before their convolutions end in no norm that a gamma of 0 could close. */
export function checkPlace(subject: string, { zeroLastGamma }: ReadModel, place: NormPlace): void {
  if (!zeroLastGamma || place === 'behind') return;
  throw wrongValue('ERR_OPTION', subject, 'zeroLastGamma', "normPlace 'behind'", "'before'");
}

/** Options after their checks. */
export interface ReadModel {
  readonly classes: number;
  readonly channels: number;
  readonly norm: NormFactory | null;
  readonly layout: Layout;
  readonly random: Random;
  readonly zeroLastGamma: boolean;
}

/** What options are where none are given. */
export interface ModelDefaults {
  readonly classes: number;
  readonly channels: number;
}

/** Options of the user's, defaults filled in. */
interface ModelSettings extends ModelDefaults {
  readonly norm: NormFactory | null | undefined;
  readonly layout: Layout;
  readonly seed: number | undefined;
}

const modelSchema = ({ classes, channels }: ModelDefaults): Schema<ModelSettings> => ({
  classes: integer(1, classes),
  channels: integer(1, channels),
  norm: optional(
    required<NormFactory | null>((subject, name, value) => {
      if (value === null || typeof value === 'function') return;
      throw wrongKind('ERR_OPTION', subject, name, 'a function or null', show(value));
    }),
  ),
  layout: layoutOption(),
  seed: seedOption(),
});

/**
 * Reads options. `own`: those that only this network has.
 *
 * @throws ERR_OPTION
 */
export function readModel<S extends object>(
  subject: string,
  options: object,
  defaults: ModelDefaults,
  own: Schema<S>,
): ReadModel & { readonly settings: S } {
  const schema = { ...modelSchema(defaults), ...own } as unknown as Schema<ModelSettings & S>;
  const settings = readSchema(subject, options, schema);
  const { classes, channels, norm, layout, seed } = settings;
  const { zeroLastGamma = false } = settings as { readonly zeroLastGamma?: boolean };
  if (zeroLastGamma && norm === null) {
    throw wrongValue('ERR_OPTION', subject, 'zeroLastGamma', 'norms', 'norm: null');
  }
  const makeNorm = norm === undefined ? (features: number) => new BatchNorm2d(features, { layout }) : norm;
  return { classes, channels, norm: makeNorm, layout, random: new Random(seed), zeroLastGamma, settings };
}

/**
 * Normal with variance 2/fanOut, which keeps the size of gradients through ReLU (He et al. 2015):
 * as torchvision's convolutions begin.
 */
const heNormalOut: Initializer = (values, _fanIn, fanOut, random) => {
  const std = Math.sqrt(2 / fanOut);
  for (let i = 0; i < values.length; i++) values[i] = std * random.normal();
};

/** The steps that graphs of convolutions are built of. */
export class ConvnetBuilder {
  readonly #subject: string;
  readonly #g: GraphBuilder;
  readonly #model: ReadModel;

  constructor(subject: string, g: GraphBuilder, model: ReadModel) {
    this.#subject = subject;
    this.#g = g;
    this.#model = model;
  }

  apply(name: string, layer: Layer, x: Value): Value {
    return this.#g.apply(name, layer, x);
  }

  add(a: Value, b: Value): Value {
    return this.#g.add(a, b);
  }

  channelsOf(x: Value): number {
    return x.shape[this.#model.layout === 'channels-first' ? 1 : 3]!;
  }

  /** A seed for the next layer. */
  seed(): number {
    return this.#model.random.bits();
  }

  /** A convolution that keeps the size at stride 1; with a bias where no norm follows. */
  conv(name: string, x: Value, out: number, kernel: number, stride = 1, groups = 1): Value {
    const { layout, norm } = this.#model;
    const layer = new Conv2d(this.channelsOf(x), out, kernel, {
      stride,
      groups,
      padding: (kernel - 1) / 2,
      bias: norm === null,
      layout,
      init: heNormalOut,
      seed: this.seed(),
    });
    return this.#g.apply(name, layer, x);
  }

  /** A norm; `isLast`: the last one of a residual block. */
  norm(name: string, x: Value, isLast = false): Value {
    const subject = this.#subject;
    const { norm, zeroLastGamma } = this.#model;
    if (!norm) return x;
    const layer = norm(this.channelsOf(x));
    if (!(layer instanceof Layer)) {
      throw wrongKind('ERR_OPTION', subject, 'norm', 'a function that returns a Layer', show(layer));
    }
    const y = this.#g.apply(name, layer, x);
    if (isLast && zeroLastGamma) {
      const { gamma } = layer.stateSlots();
      if (!gamma) {
        throw wrongValue('ERR_OPTION', subject, 'zeroLastGamma', 'norms with gamma', layer.subject, `at ${name}`);
      }
      gamma.write(new Float32Array(gamma.shape.reduce((size, length) => size * length, 1)));
    }
    return y;
  }

  /** The average of each channel, `[N, C]`. */
  average(x: Value): Value {
    const { layout } = this.#model;
    return this.apply('flatten', new Flatten(), this.apply('avgpool', new GlobalAvgPool({ layout }), x));
  }
}

/** The input of a network: images of any height and width. */
export function imagesOf({ channels, layout }: ReadModel): { readonly x: SymbolicShape } {
  return { x: layout === 'channels-first' ? [channels, null, null] : [null, null, channels] };
}

// Population statistics over shards: moments of every norm, merged in a fixed order.

import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import type { Layer } from '../layers/layer.ts';
import { checkRecord } from '../named-options.ts';
import { Moments, mergeMoments } from '../norms/statistics/moments.ts';
import { StepStats } from '../norms/statistics/step-stats.ts';
import type { Batches } from '../stats/population.ts';
import { checkNet, normsOf, runBatch, type Seen, watch } from '../stats/watch.ts';
import type { ShardContext, ShardTask } from './task.ts';

/** What `statisticsTask` is made of. */
export interface StatisticsTaskOptions<B> {
  /** Part of the run's id: of the network's code and weights, and of how batches are made. */
  version: string;
  /** The network, or a function that makes it, once in each thread. */
  net: Layer | (() => Layer | Promise<Layer>);
  /** The batches of a shard, always the same for the same input. */
  batches: (input: unknown, context: ShardContext) => Batches<B> | Promise<Batches<B>>;
  /** How a batch runs through the network. Default `(batch) => net.forward(batch)`. */
  forward?: (net: Layer, batch: B) => unknown;
}

/** Statistics of a network's norms over all shards. */
export interface ShardStatistics {
  /** Moments of what comes into each norm, by its name in the network. */
  readonly layers: Readonly<Record<string, Moments>>;
  /** Batches taken in. */
  readonly batches: number;
  /** Batches left out because something in them was not finite. */
  readonly skipped: number;
}

interface Sums {
  count: number;
  readonly mean: Float64Array;
  readonly m2: Float64Array;
}

/** Statistics of a shard, or of several. */
interface Partial {
  readonly layers: Map<string, Sums>;
  batches: number;
  skipped: number;
}

const SUBJECT = 'statisticsTask';
const FORMAT = 'evenkeel-statistics';

function encode({ layers, batches, skipped }: Partial): Uint8Array {
  const tensors = new Map<string, { data: Float64Array; shape: number[] }>();
  for (const [name, { count, mean, m2 }] of layers) {
    tensors.set(`${name}.count`, { data: Float64Array.of(count), shape: [] });
    tensors.set(`${name}.mean`, { data: mean, shape: [mean.length] });
    tensors.set(`${name}.m2`, { data: m2, shape: [m2.length] });
  }
  return writeSafetensors(tensors, { format: FORMAT, batches: `${batches}`, skipped: `${skipped}` });
}

/** Statistics as `encode` wrote them. @throws ERR_FORMAT, ERR_NON_FINITE */
function decode(bytes: Uint8Array, part: string): Partial {
  const { tensors, metadata } = readSafetensors(bytes);
  const wrong = (argument: string, expected: string, got: string) =>
    wrongValue('ERR_FORMAT', SUBJECT, argument, expected, got, part);
  if (metadata.format !== FORMAT) throw wrong('a part', `'${FORMAT}'`, show(metadata.format));
  const whole = (name: string) => {
    const value = Number(metadata[name] ?? Number.NaN);
    if (!Number.isSafeInteger(value) || value < 0) throw wrong(name, 'an integer of 0 or more', show(metadata[name]));
    return value;
  };
  const numbers = (name: string, field: string) => {
    const { dtype, bytes: raw } = tensors.get(`${name}.${field}`) ?? {};
    if (dtype !== 'F64' || !raw) throw wrong(`${name}.${field}`, 'an F64 tensor', show(dtype));
    const values = new Float64Array(raw.slice().buffer);
    if (!values.every((value) => Number.isFinite(value) && (field === 'mean' || value >= 0))) {
      const expected = `finite numbers${field === 'mean' ? '' : ' of 0 or more'}`;
      const bad = values.find((value) => !(Number.isFinite(value) && (field === 'mean' || value >= 0)));
      throw wrongValue('ERR_NON_FINITE', SUBJECT, `${name}.${field}`, expected, `${bad}`, part);
    }
    return values;
  };
  const layers = new Map<string, Sums>();
  for (const full of tensors.keys()) {
    if (!full.endsWith('.count')) continue;
    const name = full.slice(0, -'.count'.length);
    const [mean, m2] = [numbers(name, 'mean'), numbers(name, 'm2')];
    if (mean.length !== m2.length) throw wrong(`${name}.m2`, `${mean.length} channels`, `${m2.length}`);
    layers.set(name, { count: numbers(name, 'count')[0], mean, m2 });
  }
  return { layers, batches: whole('batches'), skipped: whole('skipped') };
}

/** Adds `b` to `a`. @throws ERR_SHAPE for other norms or channel counts */
function add(a: Partial, b: Partial, part: string): void {
  const namesOf = ({ layers }: Partial) => [...layers.keys()].sort();
  // a shard all of whose batches were left out has none
  if (a.layers.size && b.layers.size && show(namesOf(a).join()) !== show(namesOf(b).join())) {
    throw wrongValue('ERR_SHAPE', SUBJECT, 'norms', show(namesOf(a)), show(namesOf(b)), part);
  }
  for (const [name, { mean }] of b.layers) {
    const length = a.layers.get(name)?.mean.length ?? mean.length;
    if (length !== mean.length) {
      throw wrongValue('ERR_SHAPE', SUBJECT, `norm '${name}'`, `${length} channels`, `${mean.length}`, part);
    }
  }
  for (const [name, sums] of b.layers) {
    const mine = a.layers.get(name);
    if (mine) mergeMoments(mine, sums);
    else a.layers.set(name, sums);
  }
  a.batches += b.batches;
  a.skipped += b.skipped;
}

/** Moments as users know them. */
function momentsOf({ count, mean, m2 }: Sums): Moments {
  return Moments.fromJSON({ count, mean: [...mean], m2: [...m2] });
}

/**
 * A task for population statistics: of each shard the moments (count, mean, M2) of what comes into
 * every norm that tracks statistics, in training, as `populationStatistics` takes them. Results are
 * merged pairwise by sorted keys, in a tree that depends on the number of shards alone.
 *
 *     export default statisticsTask({ version: 'resnet-3', net: () => loadNet(), batches: ({ file
 *     }) => read(file) });
 *
 * @returns a task; its result has `Moments` by the names of norms, and `applyStatistics` puts them
 *   into the network
 * @throws ERR_OPTION for options that are missing. Its shards throw ERR_NON_FINITE where no batch
 * is
 *   finite, and ERR_OPTION for norms with statistics for each time step, which have no one moment
 */
export function statisticsTask<B>(options: StatisticsTaskOptions<B>): ShardTask<ShardStatistics> {
  checkRecord(SUBJECT, options);
  const { version, net, batches, forward } = options;
  if (typeof version !== 'string' || !version) {
    throw wrongKind('ERR_OPTION', SUBJECT, 'version', 'a text', show(version));
  }
  if (typeof batches !== 'function') throw wrongKind('ERR_OPTION', SUBJECT, 'batches', 'a function', show(batches));
  let made: Promise<Layer> | undefined;
  const network = (): Promise<Layer> => {
    made ??= Promise.resolve(typeof net === 'function' ? net() : net).then((found) => {
      checkNet(SUBJECT, found);
      const stepped = normsOf(found).find(({ tracked }) => tracked instanceof StepStats);
      if (stepped) {
        const expected = 'norms with one statistic for each channel';
        throw wrongValue('ERR_OPTION', SUBJECT, 'net', expected, `${stepped.subject}, one for each time step`);
      }
      return found;
    });
    return made;
  };
  const collect = async (input: unknown, context: ShardContext): Promise<Partial> => {
    const found = await network();
    const tracked = new Set(normsOf(found).flatMap((norm) => (norm.tracked ? [norm.name] : [])));
    if (!tracked.size) throw wrongValue('ERR_OPTION', SUBJECT, 'net', 'a norm that tracks statistics', 'none');
    const partial: Partial = { layers: new Map(), batches: 0, skipped: 0 };
    let pending: { name: string; seen: readonly Seen[] }[] = [];
    const statistics = (name: string, seen: readonly Seen[]) => {
      if (tracked.has(name)) pending.push({ name, seen });
    };
    const given = await batches(input, context);
    const end = watch(found, { training: true, dropout: false }, { statistics });
    try {
      for await (const batch of given) {
        context.signal.throwIfAborted();
        pending = [];
        await runBatch(found, batch, forward && ((one: B) => forward(found, one)));
        if (pending.some(({ seen }) => seen.some(({ finite }) => !finite))) {
          partial.skipped++;
          continue;
        }
        partial.batches++;
        for (const { name, seen } of pending) {
          for (const { count, mean, variance } of seen) {
            const sums = partial.layers.get(name);
            const one = { count, mean, m2: variance.map((value) => value * count) };
            if (sums) mergeMoments(sums, one);
            else partial.layers.set(name, one);
          }
        }
      }
    } finally {
      end();
    }
    return partial;
  };
  return {
    name: 'evenkeel.statistics',
    version,
    async shard(input, context) {
      const partial = await collect(input, context);
      if (partial.batches === 0) {
        const got = `${partial.skipped} that are not`;
        throw wrongValue('ERR_NON_FINITE', SUBJECT, 'batches', 'at least 1 that is finite', got, context.key);
      }
      return encode(partial);
    },
    async merge(results) {
      // one partial for each bit of the number of shards so far: what is merged with what follows
      // from the place alone
      const levels: (Partial | undefined)[] = [];
      for await (const { key, bytes } of results) {
        let carried = decode(bytes, `shard '${key}'`);
        let level = 0;
        for (; levels[level]; level++) {
          const lower = levels[level]!;
          add(lower, carried, `shard '${key}'`);
          carried = lower;
          levels[level] = undefined;
        }
        levels[level] = carried;
      }
      const rest = levels.filter((one) => one !== undefined);
      const all = rest.pop() ?? { layers: new Map(), batches: 0, skipped: 0 };
      for (const one of rest.reverse()) add(all, one, 'all shards');
      return {
        layers: Object.fromEntries([...all.layers].map(([name, sums]) => [name, momentsOf(sums)])),
        batches: all.batches,
        skipped: all.skipped,
      };
    },
    encode: ({ layers, batches: taken, skipped }) =>
      encode({
        layers: new Map(Object.entries(layers).map(([name, { count, mean, m2 }]) => [name, { count, mean, m2 }])),
        batches: taken,
        skipped,
      }),
  };
}

/**
 * Puts statistics in the place of a network's running ones: means, and biased variances, as
 * `recalibrate` does.
 *
 * @throws ERR_STATE for a norm without statistics, or of another channel count. Nothing has changed
 *   then
 */
export function applyStatistics(net: Layer, { layers, batches }: ShardStatistics): void {
  const subject = 'applyStatistics';
  checkNet(subject, net);
  const norms = normsOf(net).filter(({ tracked }) => tracked);
  for (const { name, engine } of norms) {
    const { channels } = engine.description;
    const found = layers[name];
    if (!isList(found?.mean) || found.channels !== channels) {
      const got = found ? `${found.channels}` : 'none';
      throw wrongValue('ERR_STATE', subject, `norm '${name}'`, `statistics of ${channels} channels`, got);
    }
  }
  for (const { name, tracked } of norms) {
    const { mean, count } = layers[name];
    tracked!.replace(mean, layers[name].variance(), batches, [count]);
  }
}

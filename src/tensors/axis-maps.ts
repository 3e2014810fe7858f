// Images whose values are copies of those of another: along each spatial axis a map says which
// place an output takes.

type Values = Float32Array | Float64Array;

/** A copy by places. */
export interface AxisMaps {
  /** Samples, or planes. */
  readonly outer: number;
  /** 1 where channels come first. */
  readonly channels: number;
  /** Lengths of the spatial axes of the input. */
  readonly lengths: readonly number[];
  /** For each output of an axis the place it is copied from; −1: none. */
  readonly maps: readonly Int32Array[];
}

/** The same as lines: runs of the last axis, with its channels. */
interface Lines {
  /** For each line of a sample's output the line it is copied from; −1: none. */
  readonly sources: Int32Array;
  /** Lines of a sample's input. */
  readonly count: number;
  readonly width: number;
  readonly map: Int32Array;
}

function linesOf({ lengths, maps }: AxisMaps): Lines {
  const last = maps.length - 1;
  let sources = Int32Array.of(0);
  for (let axis = 0; axis < last; axis++) {
    const map = maps[axis];
    const next = new Int32Array(sources.length * map.length);
    sources.forEach((source, i) => {
      for (let k = 0; k < map.length; k++) {
        next[i * map.length + k] = source < 0 || map[k] < 0 ? -1 : source * lengths[axis] + map[k];
      }
    });
    sources = next;
  }
  const count = lengths.slice(0, last).reduce((product, length) => product * length, 1);
  return { sources, count, width: lengths[last], map: maps[last] };
}

/** The longest run of places that follow each other: from which output, and how many. */
function runOf(map: Int32Array): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0, start = 0; i < map.length; i++) {
    if (map[i] < 0) {
      start = i + 1;
      continue;
    }
    if (i > start && map[i] !== map[i - 1] + 1) start = i;
    if (i + 1 - start > best.length) best = { start, length: i + 1 - start };
  }
  return best;
}

/** Values of a run from which on the host's copy is faster than a loop. */
const LONG = 48;

/**
 * A copy ready to be made: y[i] = x[map(i)], `value` where there is none. Places of x and y count
 * from `from` and `to`, in arrays that may be one, in which they lie apart.
 */
export function gatherer(given: AxisMaps, value: number): (x: Values, from: number, y: Values, to: number) => void {
  const { outer, channels } = given;
  const { sources, count, width, map } = linesOf(given);
  const run = runOf(map);
  const isLong = run.length * channels >= LONG;
  return (x, from, y, to) => {
    const line = (at: number, out: number, first: number, until: number) => {
      for (let j = first; j < until; j++) {
        const source = at + map[j] * channels;
        const target = out + j * channels;
        if (map[j] < 0) for (let k = 0; k < channels; k++) y[target + k] = value;
        else for (let k = 0; k < channels; k++) y[target + k] = x[source + k];
      }
    };
    let out = to;
    for (let n = 0; n < outer; n++) {
      for (let l = 0; l < sources.length; l++, out += map.length * channels) {
        if (sources[l] < 0) {
          y.fill(value, out, out + map.length * channels);
          continue;
        }
        const at = from + (n * count + sources[l]) * width * channels;
        if (!isLong) {
          line(at, out, 0, map.length);
          continue;
        }
        line(at, out, 0, run.start);
        const [first, last] = [at + map[run.start] * channels, at + (map[run.start] + run.length) * channels];
        if (x === y) y.copyWithin(out + run.start * channels, first, last);
        else y.set(x.subarray(first, last), out + run.start * channels);
        line(at, out, run.start + run.length, map.length);
      }
    }
  };
}

/** The gradient of that: dx[map(i)] += dy[i], on zeros. */
export function scatter(given: AxisMaps, dy: Values, from: number, dx: Values, to: number): void {
  const { outer, channels } = given;
  const { sources, count, width, map } = linesOf(given);
  dx.fill(0, to, to + outer * count * width * channels);
  let out = from;
  for (let n = 0; n < outer; n++) {
    for (let l = 0; l < sources.length; l++, out += map.length * channels) {
      if (sources[l] < 0) continue;
      const at = to + (n * count + sources[l]) * width * channels;
      for (let j = 0; j < map.length; j++) {
        if (map[j] < 0) continue;
        const source = at + map[j] * channels;
        for (let k = 0; k < channels; k++) dx[source + k] += dy[out + j * channels + k];
      }
    }
  }
}

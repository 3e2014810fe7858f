// evenkeel run FILE

import { type Report, UsageError, type Values } from './command.ts';
import { readFileWhole } from './files.ts';
import { inputsOf, openNetwork, runOn } from './network.ts';

/** A network on a picture, an array or random numbers: what comes out, and what was assumed. */
export async function run([path]: string[], values: Values): Promise<Report> {
  const top = values.top === undefined ? 5 : Number(values.top);
  if (!Number.isInteger(top) || top < 1)
    throw new UsageError(`--top takes a whole number of 1 or more, not '${values.top}'`);
  const { run: network, report } = await openNetwork(path);
  const assumed = [...report.assumed];
  const inputs = await inputsOf(network, values, assumed);
  const labels = values.labels ? textLines(await readFileWhole(values.labels)) : undefined;
  const outputs = runOn(network, inputs);
  const lines: string[] = [];
  const data: unknown[] = [];
  for (const { name } of network.outputs) {
    const { data: y, shape } = outputs[name];
    lines.push(`${name} [${shape.join(', ')}]: ${summary(y)}`);
    const best = largest(y, shape, top);
    const shown = best.map(({ index, value }) => ({ index, value, ...(labels && { label: labels[index] ?? null }) }));
    for (const { index, value } of best) {
      const label = labels?.[index];
      lines.push(
        `  ${String(index).padStart(6)}  ${value.toPrecision(6).padStart(12)}${label === undefined ? '' : `  ${label}`}`,
      );
    }
    data.push({ name, shape, data: [...y], top: shown });
  }
  lines.push(...assumed.map((what) => `assumed: ${what}`));
  const profile = values.profile
    ? network.profile(network.inputs.length === 1 ? Object.values(inputs)[0] : inputs)
    : undefined;
  if (profile) lines.push(...String(profile).split('\n'));
  const given = Object.entries(inputs).map(([name, { shape }]) => ({ name, shape }));
  return { lines, data: { file: path, inputs: given, outputs: data, assumed, ...(profile && { profile }) } };
}

const textLines = (bytes: Uint8Array) =>
  new TextDecoder()
    .decode(bytes)
    .replace(/\r?\n$/, '')
    .split(/\r?\n/);

function summary(values: Float32Array): string {
  let [low, high, sum] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  let strange = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) strange++;
    low = Math.min(low, value);
    high = Math.max(high, value);
    sum += value;
  }
  if (values.length === 0) return 'no values';
  const shown = [low, high, sum / values.length].map((value) => value.toPrecision(6));
  return `from ${shown[0]} to ${shown[1]}, mean ${shown[2]}${strange ? `, ${strange} not finite` : ''}`;
}

/** The largest values of an output that is one row. */
function largest(values: Float32Array, shape: readonly number[], count: number): { index: number; value: number }[] {
  if (values.length < 2 || shape.at(-1) !== values.length) return [];
  const order = Array.from(values, (value, index) => ({ index, value })).sort((a, b) => b.value - a.value);
  return order.slice(0, count);
}

// Options of norms in the metadata of a safetensors file, where they would be lost otherwise.

import { asRecord, parseJson } from '../formats/json.ts';
import type { BatchNormOptions } from '../norms/options.ts';
import type { Imported, NormOption } from './imported.ts';

const KEY = 'evenkeel.norms';

/** What is kept of a norm: options, and whether it takes each batch's own statistics. */
export type StoredNorm = Pick<BatchNormOptions, NormOption> & { readonly training?: true };

/**
 * Metadata that says eps, momentum, estimator and layout of each norm, as far as they were read and
 * not assumed, and which are in training mode.
 */
export function withNorms({
  norms,
  assumed,
  training = [],
}: Pick<Imported, 'norms' | 'assumed' | 'training'>): Record<string, string> {
  const read = Object.entries(norms).map(([name, options]) => {
    const own = Object.entries(options).filter(([option]) => !assumed[name]?.includes(option as NormOption));
    return [name, { ...Object.fromEntries(own), ...(training.includes(name) && { training: true }) }] as const;
  });
  const said = read.filter(([, options]) => Object.keys(options).length > 0);
  return said.length ? { [KEY]: JSON.stringify(Object.fromEntries(said)) } : {};
}

/** Metadata without what they say of some norms. */
export function withoutNorms(
  metadata: Readonly<Record<string, string>>,
  gone: readonly string[],
): Readonly<Record<string, string>> {
  const said = normsIn(metadata);
  const names = new Set(gone);
  if (!Object.keys(said).some((name) => names.has(name))) return metadata;
  const left = Object.entries(said).filter(([name]) => !names.has(name));
  const { [KEY]: _, ...others } = metadata;
  return left.length ? { ...others, [KEY]: JSON.stringify(Object.fromEntries(left)) } : others;
}

/**
 * Options of norms that the metadata of a safetensors file say, as far as it is of use. Throws
 * ERR_FORMAT where it is no JSON.
 */
export function normsIn(metadata: Readonly<Record<string, string>>): Record<string, StoredNorm> {
  if (!Object.hasOwn(metadata, KEY)) return {};
  const json = asRecord(parseJson('safetensors', KEY, new TextEncoder().encode(metadata[KEY]))) ?? {};
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const { eps, momentum, runningVariance, layout, training } = asRecord(value) ?? {};
      return [
        name,
        {
          ...(typeof eps === 'number' && eps >= 0 && { eps }),
          ...((typeof momentum === 'number' || momentum === null) && { momentum }),
          ...((runningVariance === 'biased' || runningVariance === 'unbiased') && { runningVariance }),
          ...((layout === 'channels-first' || layout === 'channels-last') && { layout }),
          ...(training === true && { training }),
        },
      ];
    }),
  );
}

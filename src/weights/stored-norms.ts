// Options of norms in the metadata of a safetensors file, where they would be lost otherwise.

import { asRecord, parseJson } from '../formats/json.ts';
import type { BatchNormOptions } from '../layers/options.ts';

const KEY = 'evenkeel.norms';

/** Metadata that says eps, momentum, estimator and layout of each norm. */
export function withNorms(norms: Readonly<Record<string, BatchNormOptions>>): Record<string, string> {
  return Object.keys(norms).length ? { [KEY]: JSON.stringify(norms) } : {};
}

/** What metadata say of norms, as far as it is of use. Throws ERR_FORMAT where it is no JSON. */
export function normsIn(
  metadata: Readonly<Record<string, string>>,
): Record<string, { readonly eps?: number; readonly momentum?: number | null }> {
  if (!Object.hasOwn(metadata, KEY)) return {};
  const json = asRecord(parseJson('safetensors', KEY, new TextEncoder().encode(metadata[KEY]))) ?? {};
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const { eps, momentum } = asRecord(value) ?? {};
      return [
        name,
        {
          ...(typeof eps === 'number' && eps >= 0 && { eps }),
          ...((typeof momentum === 'number' || momentum === null) && { momentum }),
        },
      ];
    }),
  );
}

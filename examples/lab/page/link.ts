// Links that hold settings: `#speed?rate=0.5&batch=60`.

import { type Text, t } from '../words.ts';
import { isRefused, readControls } from './inputs.ts';

export function linkOf(name: string, controls: Readonly<Record<string, unknown>>): string {
  const settings = new URLSearchParams(Object.entries(controls).map(([key, value]) => [key, String(value)]));
  return `#${name}${settings.size ? `?${settings}` : ''}`;
}

export interface Link {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
}

/** What a link names; undefined where it is empty. */
export function readLink(hash: string): Link | undefined {
  const [name, query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  return name ? { name, settings: Object.fromEntries(new URLSearchParams(query)) } : undefined;
}

/** The defaults with the settings of a link in their place, or what is wrong with them. */
export function settingsOf(
  { settings }: Link,
  defaults: Readonly<Record<string, string>>,
): { settings: Record<string, string> } | { why: Text } {
  const unknown = Object.keys(settings).find((key) => !(key in defaults));
  if (unknown !== undefined) return { why: t`The link sets ${unknown}, which is no setting here.` };
  const all = { ...defaults, ...settings };
  const read = readControls(all);
  return isRefused(read) ? { why: t`The link cannot be followed: ${read.why}.` } : { settings: all };
}

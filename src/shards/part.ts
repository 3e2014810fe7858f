// A shard's result with the run and the key it belongs to, as it is stored and sent.

import { show, wrongValue } from '../errors.ts';
import { sha256 } from './host.ts';

const FORMAT = 'evenkeel-part 1';
/** Longer first lines are none of ours. */
const LONGEST = 1024;

/** A part: one line of JSON, then the bytes. */
export async function writePart(run: string, key: string, bytes: Uint8Array): Promise<Uint8Array> {
  const header = { format: FORMAT, run, key, bytes: bytes.length, sha256: await sha256(bytes) };
  const line = new TextEncoder().encode(`${JSON.stringify(header)}\n`);
  const part = new Uint8Array(line.length + bytes.length);
  part.set(line);
  part.set(bytes, line.length);
  return part;
}

/**
 * The bytes of a part.
 *
 * @throws ERR_PART for one that is damaged, of another run, or of another shard
 */
export async function readPart(subject: string, part: Uint8Array, run: string, key: string): Promise<Uint8Array> {
  const label = `the part of shard '${key}'`;
  const wrong = (expected: string, got: string) => wrongValue('ERR_PART', subject, label, expected, got);
  const end = part.subarray(0, LONGEST).indexOf(10);
  let header: Partial<Record<'format' | 'run' | 'key' | 'bytes' | 'sha256', unknown>> = {};
  try {
    header = JSON.parse(new TextDecoder().decode(part.subarray(0, Math.max(end, 0)))) ?? {};
  } catch {}
  if (header.format !== FORMAT) throw wrong(`a file of '${FORMAT}'`, part.length ? 'other bytes' : 'an empty file');
  if (header.run !== run) throw wrong(`one of run ${run.slice(0, 12)}…`, `run ${`${header.run}`.slice(0, 12)}…`);
  if (header.key !== key) throw wrong('its own', `that of ${show(header.key)}`);
  const bytes = part.subarray(end + 1);
  if (header.bytes !== bytes.length) throw wrong(`${show(header.bytes)} bytes`, `${bytes.length}`);
  const sum = await sha256(bytes);
  if (header.sha256 !== sum) throw wrong(`sha256 ${show(header.sha256)}`, sum);
  return bytes;
}

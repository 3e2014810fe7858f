// Files whose structure was changed, through everything that reads files: each is read or refused
// with a code, in bounded time and memory.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from '../../src/cli/inspect.ts';
import { backend } from '../../src/kernels/backend.ts';
import { CODES, kerasCases, type ReaderCase, readerCases, tfjsShardFiles } from '../support/readers.ts';
import { Dice } from './dice.ts';
import type { Fuzzer } from './fuzzer.ts';
import { mutate } from './mutate.ts';
import { compiledStructure } from './structure/compiled.ts';
import { changedInside, jsonStructure, npyStructure, safetensorsStructure, zipStructure } from './structure/files.ts';
import type { Structure } from './structure/format.ts';
import { onnxStructure } from './structure/protobuf.ts';

/**
 * What a file may cost: ten times its size or this much memory, and so many seconds of the
 * processor.
 */
const MEMORY = 64 << 20;
const SECONDS = 5;
/** Larger files are not tried. */
const LARGEST = 16 << 20;
/**
 * One file in so many becomes megabytes; one in so many goes through the command line's `inspect`
 * as well.
 */
const LARGE = 4000;
const INSPECTED = 20;

interface Subject extends ReaderCase {
  // biome-ignore lint/suspicious/noExplicitAny: of the file's format
  readonly structure: Structure<any> | undefined;
}

function structureOf(name: string, bytes: Uint8Array) {
  if (name.endsWith('.onnx')) return onnxStructure(bytes);
  if (name.endsWith('.safetensors')) return safetensorsStructure(bytes);
  if (name.startsWith('a compiled network')) return compiledStructure(bytes);
  if (name.endsWith('.npy')) return npyStructure(bytes);
  if (name.endsWith('.npz'))
    return zipStructure(bytes, (_, member, dice, large) => changedInside(npyStructure, member, dice, large));
  if (name.endsWith('.json')) return jsonStructure(bytes);
  if (!name.endsWith('.keras')) return undefined;
  return zipStructure(bytes, (member, inner, dice, large) => {
    return member.endsWith('.json') ? changedInside(jsonStructure, inner, dice, large) : mutate(inner, dice.seed());
  });
}

/** One change of a file, by its seed: of the structure, or of bytes behind all others. */
interface Round {
  readonly seed: number;
  readonly bytes: boolean;
}

function roundsOf(dice: Dice, { structure }: Subject): Round[] {
  const rounds = Array.from({ length: structure ? dice.between(1, 4) : 0 }, () => ({
    seed: dice.seed(),
    bytes: false,
  }));
  if (!structure || dice.oneIn(5)) rounds.push({ seed: dice.seed(), bytes: true });
  return rounds;
}

function fileOf({ structure, bytes }: Subject, rounds: readonly Round[], large: boolean): Uint8Array {
  let file = bytes;
  if (structure) {
    const parts = structure.parts();
    for (const { seed, bytes: isLast } of rounds) if (!isLast) structure.change(parts, new Dice(seed), large);
    file = structure.encode(parts);
  }
  for (const { seed, bytes: isLast } of rounds) if (isLast) file = mutate(file, seed);
  return file;
}

const kilobytes = () => process.resourceUsage().maxRSS;

/** What is wrong with how a file was taken. */
async function taken(name: string, work: () => Promise<unknown>, size: number): Promise<string | undefined> {
  const { blocks } = backend().heap;
  const most = kilobytes() * 1024;
  const { arrayBuffers } = process.memoryUsage();
  const start = process.cpuUsage();
  try {
    await work();
  } catch (error) {
    const { code, message, stack } = error as Error & { code?: string };
    // the command line says what the system says
    if (name.startsWith('inspect') && /^E[A-Z]+$/.test(code ?? '')) return undefined;
    if (!code || !CODES.includes(code))
      return `${name}: ${code ?? 'no code'}: ${stack?.split('\n').slice(0, 6).join(' ')}`;
    if (/[\n\r]/.test(message) || message.length > 1000)
      return `${name}: a message of ${message.length} characters: ${JSON.stringify(message.slice(0, 200))}`;
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  if (seconds > SECONDS) return `${name}: ${seconds.toFixed(1)} s for ${size} bytes`;
  const allowed = Math.max(10 * size, MEMORY);
  const held = Math.max(kilobytes() * 1024 - most, process.memoryUsage().arrayBuffers - arrayBuffers);
  if (held > allowed) return `${name}: ${Math.round(held / 2 ** 20)} MB for a file of ${size} bytes`;
  const left = backend().heap.blocks - blocks;
  return left > 0 ? `${name}: ${left} blocks of memory are left` : undefined;
}

const folder = join(tmpdir(), `evenkeel-fuzz-${process.pid}`);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

async function wrongWith(subject: Subject, file: Uint8Array, inspected: boolean): Promise<string | undefined> {
  const wrong = await taken(subject.name, () => subject.read(file), file.length);
  // of HDF5 the command line leaves the reading to a worker of the built package
  if (wrong || !inspected || !/\.(onnx|safetensors|np[yz]|json)$/.test(subject.name)) return wrong;
  mkdirSync(folder, { recursive: true });
  const path = join(folder, subject.name.replace(/^.*\//, ''));
  for (const [shard, bytes] of tfjsShardFiles()) writeFileSync(join(folder, shard), bytes);
  writeFileSync(path, file);
  return taken(`inspect ${subject.name}`, () => inspect([path], {} as never), file.length);
}

/**
 * The same file with fewer changes, so long as it is still wrong; where it was put, and what
 * reads it.
 */
async function shrunk(subject: Subject, rounds: Round[], large: boolean, inspected: boolean): Promise<string> {
  let least = rounds;
  for (let i = least.length - 1; i >= 0; i--) {
    const fewer = least.filter((_, k) => k !== i);
    if (await wrongWith(subject, fileOf(subject, fewer, large), inspected)) least = fewer;
  }
  return put(subject, fileOf(subject, least, large));
}

function put({ name }: Subject, file: Uint8Array): string {
  const path = join(tmpdir(), `evenkeel-fuzz-${Date.now() % 1e9}-${name.replace(/^.*\//, '').replaceAll(' ', '-')}`);
  writeFileSync(path, file);
  return `${path} (${file.length} bytes)`;
}

export const readers: Fuzzer = {
  about: 'files with their structure changed, through every reader, fold and inspect',
  flags: ['--max-old-space-size=256'],
  prepare({ only, keras }) {
    const cases = keras ? kerasCases() : readerCases();
    const all: Subject[] = cases
      .filter(({ name }) => name.includes(only))
      .map((one) => ({ ...one, structure: structureOf(one.name, one.bytes) }));
    if (!all.length) throw new Error(`no file whose name has '${only}' in it`);
    return {
      of: `files made of ${all.length}`,
      async run(seed, keep) {
        const dice = new Dice(seed);
        const subject = all[seed % all.length];
        const large = dice.oneIn(LARGE);
        const inspected = dice.oneIn(INSPECTED);
        const rounds = roundsOf(dice, subject);
        const file = fileOf(subject, rounds, large);
        if (keep) console.log(`the file of seed ${seed}: ${put(subject, file)}`);
        if (file.length > LARGEST) return undefined;
        const wrong = await wrongWith(subject, file, inspected);
        return wrong && `${wrong}\n  ${await shrunk(subject, rounds, large, inspected)}`;
      },
      // a process that has once taken much memory no longer shows who takes it
      spent: () => kilobytes() > 600 << 10,
    };
  },
};

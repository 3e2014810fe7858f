// What a process of the bench runs: cases, each of which is checked and then timed. It is bundled
// into one module, which --json keeps: a later run can take the cases of both in turns.

import { pathToFileURL } from 'node:url';
import { close, info, setThreads } from '../src/index.ts';
import { backend } from '../src/kernels/backend.ts';
import { type CaseGroup, type CaseName, type CaseWork, caseGroups } from './cases.ts';
import { nameOf, type Row, rowOf } from './figures.ts';
import { refuse } from './options.ts';
import { ownGroup } from './own.ts';
import { slowRounds, timeTogether, type Work } from './timing.ts';
import { TOLERANCE } from './workload.ts';

export { caseGroups, ownGroup };

/** What a run takes from the program of an earlier one, whatever its version. */
export type Earlier = Pick<typeof import('./program.ts'), 'caseGroups' | 'ownGroup'>;

/** What a process is told to measure. */
export interface Order {
  /** Cases by name, in their order. */
  readonly names: readonly string[];
  /** Milliseconds for each work. */
  readonly time: number;
  /** How many processes take part, and which of them this is, from 0. */
  readonly processes: number;
  readonly process: number;
  readonly threads: number;
  /** Hundredths by which ours is made slower. */
  readonly slower: number;
  /** The file of a user's own function. */
  readonly own?: string;
  /** The file of the program that is measured beside this one. */
  readonly before?: string;
}

/** Measures what it is told to, and prints a row for each case, as JSON in a line of its own. */
export async function run(order: Order): Promise<void> {
  const { names, threads, own, before: file } = order;
  if (threads > 1) {
    setThreads(threads);
    await new Promise((resolve) => setTimeout(resolve, 200)); // workers start
    if (info().threads !== threads) console.error(`one thread: ${info().threading}`);
  }
  const groupsOf = async (program: Earlier) =>
    own === undefined ? program.caseGroups() : [await program.ownGroup(own)];
  const earlier = file === undefined ? [] : await groupsOf(await import(pathToFileURL(file).href));
  const wanted = new Set(names);
  for (const group of await groupsOf({ caseGroups, ownGroup })) {
    const cases = group.names.filter((name) => wanted.has(nameOf(name)));
    if (cases.length === 0) continue;
    const old = sameGroup(earlier, cases);
    // which of the two lies first in memory changes from process to process
    const made = order.process % 2 ? [group, old] : [old, group];
    const all = new Map(made.map((one) => [one, one?.make()]));
    for (const name of cases) {
      const row = await measure(name, all.get(group)!.works[name.op], all.get(old)?.works[name.op], order);
      console.log(JSON.stringify(row));
    }
    for (const one of all.values()) one?.dispose();
  }
  await close();
}

/** The group that has cases of the same names. */
function sameGroup(groups: readonly CaseGroup[], cases: readonly CaseName[]): CaseGroup | undefined {
  const wanted = new Set(cases.map(nameOf));
  return groups.find(({ names }) => names.some((name) => wanted.has(nameOf(name))));
}

async function measure(name: CaseName, work: CaseWork, earlier: CaseWork | undefined, order: Order): Promise<Row> {
  const { bytes, flops, ours, plain, copy, batchNorm, layers, own } = work;
  const { time, processes, threads, slower } = order;
  await check(nameOf(name), work, order);
  if (earlier) await check(`${nameOf(name)} of the earlier program`, earlier, order);
  // before and ours are neighbours: what the machine does meanwhile falls on both
  const works: Record<string, Work> = {
    ...(earlier && { before: earlier.ours }),
    ours,
    plain,
    ...(copy && { copy }),
    ...(batchNorm && { batchNorm }),
    ...(layers && { layers }),
    ...(own && { own }),
    ...(threads > 1 && { alone: alone(ours) }),
  };
  const alike = earlier ? ['before', 'ours'] : [];
  const rounds = { slowRounds: slowRounds(processes), slower: { ours: slower }, alike };
  const times = (await timeTogether(works, time, rounds)) as Row['times'];
  return rowOf(name, { bytes, ...(flops && { flops, peak: work.peak?.() }), times });
}

/** Holds the results of a work against those of its plain loops. */
async function check(name: string, work: CaseWork, { own: file }: Order): Promise<void> {
  const { before, ours, plain, own } = work;
  before?.();
  await ours();
  plain();
  try {
    await own?.();
  } catch (error) {
    refuse('--own', `a function that returns in ${file}`, `${error}`);
  }
  const difference = work.difference();
  if (!(difference < TOLERANCE)) throw new Error(`${name}: differs from the plain loops by ${difference}`);
}

/** The same work on this thread alone. */
function alone(work: Work): Work {
  const current = backend();
  return () => {
    const { parallel } = current;
    current.parallel = current.kernels;
    work();
    current.parallel = parallel;
  };
}

// Random sequences of calls on layers, networks and cells. Every call is held against a model by
// formulas in f64 (networks: against their layers one by one), against a fresh layer with the
// same state, and against a twin that is given calls that fail in between.

import { type Layer, type StateDict, setThreads } from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { Dice } from './dice.ts';
import type { Fuzzer } from './fuzzer.ts';
import { ByHand } from './stateful/by-hand.ts';
import { type Call, callsFor, type ForwardCall } from './stateful/calls.ts';
import { CellModel } from './stateful/cell-model.ts';
import { MISTAKE_NAMES, mistake } from './stateful/failing.ts';
import { Instance, type Outcome } from './stateful/instance.ts';
import type { Expectation, Model } from './stateful/model.ts';
import { NormModel } from './stateful/norm-model.ts';
import { ActivationModel, DropoutModel, LinearModel } from './stateful/small-models.ts';
import { hasDropout, isCell, isNetwork, type Subject, subject, write } from './stateful/subjects.ts';
import { firstOther } from './stateful/truth.ts';

export interface Script {
  readonly subject: Subject;
  readonly calls: readonly Call[];
}

export function scriptOf(seed: number): Script {
  const dice = new Dice(seed);
  const chosen = subject(dice);
  return { subject: chosen, calls: callsFor(chosen, dice, MISTAKE_NAMES) };
}

function modelOf(subject: Subject): Model {
  if (isNetwork(subject)) return new ByHand(subject);
  if (isCell(subject)) return new CellModel(subject);
  if (subject.kind === 'Linear') return new LinearModel(subject);
  if (subject.kind === 'Dropout') return new DropoutModel(subject);
  return subject.kind === 'ActivationLayer' ? new ActivationModel(subject) : new NormModel(subject);
}

/** Carries out a script; returns what went wrong first, behind the number of the call. */
export function play({ subject, calls }: Script): string | undefined {
  const { heap } = backend();
  const { blocks } = heap;
  const main = new Instance(subject);
  const twin = calls.some((call) => call.do === 'fail') ? new Instance(subject) : undefined;
  const model = modelOf(subject);
  const fresh: { last?: Fresh } = {};
  let failAt = -1;
  let wrong: string | undefined;
  for (const [i, call] of calls.entries()) {
    try {
      if (call.do !== 'fail') {
        wrong = step(call, main, twin, model, fresh, failAt);
        failAt = -1;
      } else if (call.what === 'memory') failAt = call.seed % 7;
      else wrong = mistake(call.what, call.seed, twin!);
    } catch (error) {
      wrong = `the fuzzer: ${(error as Error).stack?.split('\n').slice(0, 5).join(' ')}`;
    }
    if (wrong) {
      wrong = `call ${i}: ${wrong}`;
      break;
    }
  }
  for (const one of [main, twin, fresh.last?.instance]) one?.dispose();
  (model as Partial<ByHand>).dispose?.();
  const left = heap.blocks - blocks;
  return wrong ?? (left ? `${left} blocks of memory are left` : undefined);
}

/** A layer that was made with the state of another, and had the same calls since. */
interface Fresh {
  readonly instance: Instance;
}

function step(
  call: Call,
  main: Instance,
  twin: Instance | undefined,
  model: Model,
  fresh: { last?: Fresh },
  failAt: number,
): string | undefined {
  const expected = model.expect(call, main) ?? {};
  const other = freshFor(call, main, fresh);
  const outcome = main.perform(call);
  const wrong = judge(call, outcome, expected) ?? compareFresh(call, outcome, main, other);
  if (outcome.code) dropFresh(fresh);
  if (wrong) return wrong;
  expected.note?.();
  if (!twin) return undefined;
  const second = failAt < 0 ? twin.perform(call) : withoutMemory(call, twin, failAt);
  return differ('after calls that failed', outcome, second) ?? seenApart('after calls that failed', main, twin);
}

function judge(call: Call, outcome: Outcome, { codes, check, unsure }: Expectation): string | undefined {
  const { code, error } = outcome;
  if (code) {
    if (code === 'none')
      return `${call.do}: an error without a code: ${error!.stack?.split('\n').slice(0, 4).join(' ')}`;
    if (codes?.includes(code) || (unsure && !codes)) return undefined;
    return `${call.do}: ${codes ? `${codes} expected` : 'no error expected'}, got ${error!.message}`;
  }
  if (codes) return `${call.do}: ${codes} expected, got no error`;
  const wrong = outcome.wrong ?? check?.(outcome);
  return wrong && `${call.do}: ${wrong}`;
}

/** The twin's call with no memory left at some point of it; if it fails for that, once more. */
function withoutMemory(call: Call, twin: Instance, at: number): Outcome {
  const { heap } = backend();
  const { alloc } = heap;
  let left = at;
  heap.alloc = (bytes) => {
    if (left-- === 0) throw Object.assign(new RangeError('no memory, for a trial'), { code: 'ERR_MEMORY' });
    return alloc.call(heap, bytes);
  };
  let first: Outcome;
  try {
    first = twin.perform(call);
  } finally {
    Reflect.deleteProperty(heap, 'alloc');
  }
  return first.code === 'ERR_MEMORY' ? twin.perform(call) : first;
}

/**
 * The fresh layer that a call is tried on as well: a new one before a forward that asks for it,
 * the last one for what follows.
 */
function freshFor(call: Call, main: Instance, fresh: { last?: Fresh }): Instance | undefined {
  const { last } = fresh;
  if (last && (call.do === 'backward' || call.do === 'microBack')) return last.instance;
  dropFresh(fresh);
  const asks =
    call.do === 'micro' || (call.do === 'forward' && call.fresh && !(main.repeats(call) && !main.hasForward));
  if (!asks || (hasDropout(main.subject) && main.layer.training)) return undefined;
  const instance = new Instance(main.subject);
  const [from, to] = [main.layer as Layer & Modes, instance.layer as Layer & Modes];
  to.loadStateDict(from.stateDict() as StateDict);
  if (isNetwork(main.subject))
    for (const [i, [, leaf]] of to.named().entries()) leaf.train(from.named()[i][1].training);
  to.train(from.training);
  if (from.domain) to.domain = from.domain;
  if (from.frozen) to.freeze();
  for (const [i, { grad }] of to.parameters().entries()) grad.set(from.parameters()[i].grad);
  instance.state = main.state;
  fresh.last = { instance };
  return instance;
}

function dropFresh(fresh: { last?: Fresh }): void {
  fresh.last?.instance.dispose();
  fresh.last = undefined;
}

interface Modes {
  frozen?: boolean;
  domain?: string;
  freeze(): void;
}

function compareFresh(call: Call, outcome: Outcome, main: Instance, other: Instance | undefined): string | undefined {
  if (!other) return undefined;
  const lone: Call = call.do === 'forward' ? ({ ...call, again: false } as ForwardCall) : call;
  return differ('a fresh layer', outcome, other.perform(lone)) ?? seenApart('a fresh layer', main, other);
}

function differ(than: string, a: Outcome, b: Outcome): string | undefined {
  if (a.code !== b.code) return `${than}: ${b.error?.message ?? 'no error'} for ${a.error?.message ?? 'no error'}`;
  for (const [i, output] of (a.outputs ?? []).entries()) {
    const other = firstOther(b.outputs![i], output);
    if (other) return `${than}: output ${i}${other}`;
  }
  return undefined;
}

function seenApart(than: string, a: Instance, b: Instance): string | undefined {
  const others = b.seen();
  for (const [i, { name, values }] of a.seen().entries()) {
    const other = firstOther(others[i].values, values);
    if (other) return `${than}: ${name}${other}`;
  }
  return undefined;
}

/** The same script without whatever it fails without. */
export function shrink(script: Script): { script: Script; wrong: string } {
  let calls = script.calls;
  let wrong = play(script) ?? 'nothing, the second time';
  for (let size = calls.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < calls.length; ) {
      const fewer = [...calls.slice(0, at), ...calls.slice(at + size)];
      const still = fewer.length < calls.length ? play({ ...script, calls: fewer }) : undefined;
      if (still) [calls, wrong] = [fewer, still];
      else at += size;
    }
  }
  return { script: { ...script, calls }, wrong };
}

export function describeScript({ subject, calls }: Script): string {
  return [`  ${write(subject)}`, ...calls.map((call, i) => `  ${i} ${JSON.stringify(call)}`)].join('\n');
}

export const stateful: Fuzzer = {
  about: 'sequences of calls: a model in f64, fresh layers, a twin given calls that fail',
  env: { EVENKEEL_BACKEND: process.env.EVENKEEL_BACKEND ?? 'simd' },
  prepare({ only }) {
    return {
      of: 'sequences of calls',
      run(seed) {
        const script = scriptOf(seed);
        if (only && !script.subject.kind.includes(only)) return undefined;
        if (!play(script)) return undefined;
        const least = shrink(script);
        setThreads(1);
        return `${least.script.subject.kind}: ${least.wrong}\n${describeScript(least.script)}`;
      },
    };
  },
};

// Calls as data, and the values that they are given.

import { Dice } from '../dice.ts';
import { isCell, isNorm, type Subject, settingsOf } from './subjects.ts';

export type Kind = 'tensor' | 'array' | 'dims';

/** What a forward says of its places. */
export interface Places {
  readonly mask?: 'places' | 'channels' | 'first';
  readonly lengths?: boolean;
  readonly weights?: 'places' | 'channels';
}

export interface ForwardCall extends Places {
  readonly do: 'forward';
  readonly seed: number;
  readonly shape: readonly number[];
  readonly like: Kind;
  readonly values: Style;
  readonly out?: 'apart' | 'x' | 'residual';
  readonly outLike?: Kind;
  readonly residual?: Kind;
  /** The objects of the forward before, with other values in x. */
  readonly again?: boolean;
  /** Held against a fresh layer with the same state. */
  readonly fresh?: boolean;
  /** Of cells: goes on from where the forward before ended. */
  readonly state?: boolean;
}

export interface BackwardCall {
  readonly do: 'backward';
  readonly seed: number;
  readonly like: Kind;
  readonly out?: 'apart' | 'dy' | 'x';
  /** Of networks: no gradient of the input is asked for. */
  readonly parametersOnly?: boolean;
}

export type Call =
  | ForwardCall
  | BackwardCall
  | {
      readonly do: 'micro';
      readonly seed: number;
      readonly shapes: readonly (readonly number[])[];
      readonly like: Kind;
    }
  | { readonly do: 'microBack'; readonly seed: number; readonly like: Kind }
  | { readonly do: 'load' | 'write' | 'compile'; readonly seed: number }
  | { readonly do: 'step'; readonly with: 'SGD' | 'Adam'; readonly options: object }
  | { readonly do: 'domain'; readonly name: string }
  | { readonly do: 'threads'; readonly count: number }
  | { readonly do: 'fail'; readonly what: string; readonly seed: number }
  | { readonly do: (typeof PLAIN)[number] };

/** Calls that take nothing. */
const PLAIN = ['train', 'eval', 'freeze', 'unfreeze', 'reset', 'zeroGrad', 'dispose', 'grow', 'disposeX'] as const;

type Style = 'lopsided' | 'far' | 'constant' | 'tiny' | 'large' | 'nan' | 'zeros';

/** The axis along which channels lie. */
export function channelAxis(subject: Subject, rank: number): number {
  const { kind } = subject;
  const last = kind === 'RecurrentBatchNorm1d' || !/^(Batch|Domain|Group|Instance)/.test(kind);
  return last || settingsOf(subject).layout === 'channels-last' ? rank - 1 : 1;
}

export const countOf = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);

/** Values of a shape; each channel has its own mean and spread. */
export function valuesOf(subject: Subject, shape: readonly number[], style: Style, seed: number): Float32Array {
  const dice = new Dice(seed);
  const axis = channelAxis(subject, shape.length);
  const inner = countOf(shape.slice(axis + 1));
  const channels = shape[axis] ?? 1;
  const odd = dice.below(channels || 1);
  const values = new Float32Array(countOf(shape));
  for (let i = 0; i < values.length; i++) {
    const c = Math.floor(i / inner) % channels;
    const usual = 0.7 * c - 1 + (0.5 + 0.3 * c) * dice.normal();
    values[i] = oneValue(style, c === odd, usual, dice);
  }
  return values;
}

function oneValue(style: Style, isOdd: boolean, usual: number, dice: Dice): number {
  switch (style) {
    case 'far':
      return isOdd ? 3000 + usual : usual;
    case 'constant':
      return isOdd ? 1.5 : usual;
    case 'tiny':
      return usual * 1e-20;
    case 'large':
      return usual * 1e8;
    case 'nan':
      return isOdd && dice.oneIn(3) ? dice.of([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) : usual;
    case 'zeros':
      return 0;
    default:
      return usual;
  }
}

const STYLES: readonly Style[] = ['lopsided', 'lopsided', 'lopsided', 'far', 'constant', 'tiny', 'large', 'zeros'];
const LIKES: readonly Kind[] = ['tensor', 'tensor', 'array', 'dims'];

/** A shape of inputs. */
function shapeFor(subject: Subject, dice: Dice): number[] {
  const { kind, ranks, args } = subject;
  const samples = dice.oneIn(30)
    ? 0
    : dice.oneIn(8)
      ? 1
      : dice.oneIn(150)
        ? dice.between(300, 2000)
        : dice.between(2, 6);
  if (isCell(subject) || kind === 'RecurrentBatchNorm1d')
    return [samples, dice.between(1, dice.oneIn(8) ? 6 : 4), subject.channels];
  const rank = dice.between(ranks[0], ranks[1]);
  const shape = [samples, ...Array.from({ length: rank - 1 }, () => dice.between(1, dice.oneIn(9) ? 7 : 4))];
  if (kind === 'LayerNorm' || kind === 'RMSNorm') {
    const normalized = Array.isArray(args[0]) ? args[0] : [args[0]];
    return [...shape.slice(0, Math.max(rank - normalized.length, 0)), ...normalized];
  }
  if (subject.channels) shape[channelAxis(subject, rank)] = subject.channels;
  return shape;
}

const takesMask = ({ kind }: Subject) => /^(Batch|Domain|Group|Instance|Recurrent)/.test(kind);
export const tracks = ({ kind }: Subject) => /^(Batch|Domain|Recurrent)/.test(kind);

function forwardCall(subject: Subject, dice: Dice, last: ForwardCall | undefined): ForwardCall {
  if (last && !last.state && dice.oneIn(5)) return { ...last, seed: dice.seed(), again: true, fresh: dice.oneIn(3) };
  const shape = last && dice.oneIn(2) ? last.shape : shapeFor(subject, dice);
  const call: Record<string, unknown> = {
    do: 'forward',
    seed: dice.seed(),
    shape,
    like: dice.of(LIKES),
    values: dice.oneIn(60) ? 'nan' : dice.of(STYLES),
  };
  const inPlace = isNorm(subject) || subject.kind === 'ActivationLayer' || subject.kind === 'Dropout';
  if (isNorm(subject) && dice.oneIn(4)) call.residual = dice.of(LIKES);
  if (dice.oneIn(3)) {
    call.out = !inPlace ? 'apart' : call.residual && dice.oneIn(4) ? 'residual' : dice.oneIn(3) ? 'x' : 'apart';
    if (call.out === 'apart' && dice.oneIn(4)) call.outLike = dice.of(LIKES);
  }
  if (takesMask(subject) && dice.oneIn(3)) {
    if (dice.oneIn(2)) call.mask = dice.of(['places', 'places', 'channels', 'first']);
    if (shape.length >= 3 && dice.oneIn(3)) call.lengths = true;
    if (dice.oneIn(3)) call.weights = dice.of(['places', 'channels']);
  }
  if (isCell(subject)) {
    if (dice.oneIn(3)) call.lengths = true;
    if (last && last.shape[0] === shape[0] && dice.oneIn(3)) call.state = true;
  }
  if (dice.oneIn(3)) call.fresh = true;
  return call as unknown as ForwardCall;
}

function backwardCall(subject: Subject, dice: Dice): BackwardCall {
  const call: Record<string, unknown> = { do: 'backward', seed: dice.seed(), like: dice.of(LIKES) };
  const inPlace = isNorm(subject) || subject.kind === 'ActivationLayer' || subject.kind === 'Dropout';
  if (dice.oneIn(3)) call.out = !inPlace ? 'apart' : dice.of(['apart', 'apart', 'dy', isNorm(subject) ? 'x' : 'dy']);
  if (subject.kind === 'Sequential' && dice.oneIn(4)) {
    delete call.out;
    call.parametersOnly = true;
  }
  return call as unknown as BackwardCall;
}

/** A sequence of calls. */
export function callsFor(subject: Subject, dice: Dice, failures: readonly string[]): Call[] {
  const calls: Call[] = [];
  let last: ForwardCall | undefined;
  let micro = false;
  const learns = subject.kind !== 'ActivationLayer' && subject.kind !== 'Dropout';
  for (let many = dice.between(2, 14); many > 0; many--) {
    if (dice.oneIn(4)) calls.push({ do: 'fail', what: dice.of(failures), seed: dice.seed() });
    const throwOf = dice.below(28);
    if (throwOf < 10 || !(last || micro)) {
      last = forwardCall(subject, dice, last);
      micro = false;
      calls.push(last);
    } else if (throwOf < 16) {
      if (micro) calls.push({ do: 'microBack', seed: dice.seed(), like: dice.of(LIKES) });
      else calls.push(backwardCall(subject, dice));
    } else if (throwOf < 17 && !isCell(subject) && subject.kind !== 'RecurrentBatchNorm1d') {
      const first = shapeFor(subject, dice);
      const axis = channelAxis(subject, first.length);
      if (axis !== 0 && first[0] > 0) {
        const shapes = Array.from({ length: dice.between(1, 3) }, () => [dice.between(1, 4), ...first.slice(1)]);
        calls.push({ do: 'micro', seed: dice.seed(), shapes, like: dice.of(LIKES) });
        micro = true;
      }
    } else if (throwOf < 18) calls.push({ do: dice.of(['eval', 'train', 'eval']) });
    else if (throwOf < 19) calls.push({ do: dice.of(['train', 'eval']) });
    else if (throwOf < 20 && learns) calls.push(optimizerStep(dice));
    else if (throwOf < 21 && learns) calls.push({ do: 'load', seed: dice.seed() });
    else if (throwOf < 22) calls.push({ do: 'zeroGrad' });
    else if (throwOf < 23 && tracks(subject)) calls.push({ do: dice.of(['freeze', 'unfreeze', 'unfreeze', 'reset']) });
    else if (throwOf < 24) calls.push({ do: dice.oneIn(2) ? 'dispose' : 'disposeX' });
    else if (throwOf < 25 && subject.kind === 'DomainBatchNorm')
      calls.push({ do: 'domain', name: dice.of(['a', 'b']) });
    else if (throwOf < 26 && learns) calls.push({ do: 'write', seed: dice.seed() });
    else if (throwOf < 27 && subject.kind === 'Sequential') calls.push({ do: 'compile', seed: dice.seed() });
    else if (dice.oneIn(12)) calls.push({ do: 'grow' });
    else if (dice.oneIn(120)) calls.push({ do: 'threads', count: dice.between(1, 2) });
  }
  return calls;
}

function optimizerStep(dice: Dice): Call {
  if (dice.oneIn(2)) {
    const momentum = dice.of([0, 0.9]);
    return {
      do: 'step',
      with: 'SGD',
      options: { lr: 0.1, momentum, nesterov: momentum > 0 && dice.oneIn(2), weightDecay: dice.of([0, 0.01]) },
    };
  }
  return { do: 'step', with: 'Adam', options: { lr: 0.01, weightDecay: dice.of([0, 0.01]) } };
}

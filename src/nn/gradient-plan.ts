// In which order a network's gradients are worked out, and where each of them lies: a linear scan
// over their lifetimes.

import type { Layer } from '../layers/layer.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import type { Operation } from './operations.ts';

type Shape = readonly number[];

/**
 * A layer or an operation applied to values of a network, each of which has a number: those of its
 * inputs, then those of its nodes in their order.
 */
export interface NetworkNode {
  /** What stands before the names of its state; of an operation what errors call it. */
  readonly name: string;
  readonly layer?: Layer;
  readonly operation?: Operation;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** What a network is made of. */
export interface Wiring {
  /** How many inputs there are. */
  readonly inputs: number;
  readonly nodes: readonly NetworkNode[];
  /** Values that are the outputs. */
  readonly outputs: readonly number[];
}

/**
 * A step of a backward: of a node, or the sum of two gradients of one value (of one, a copy).
 * Gradients have numbers of their own.
 */
export interface BackwardStep {
  /** Which node's; −1 for a sum. */
  readonly node: number;
  /** Gradients that are read; undefined for an output without users. */
  readonly from: readonly (number | undefined)[];
  /** Gradients that are written; undefined where that is not asked for. */
  readonly to: readonly (number | undefined)[];
  /** Is it for more than the gradients of the network's inputs? */
  readonly isNeeded: boolean;
}

export interface GradientPlan {
  readonly steps: readonly BackwardStep[];
  /** Shape and slot of each gradient. */
  readonly gradients: readonly { readonly shape: Shape; readonly slot: number }[];
  /** Values in each slot. */
  readonly slots: readonly number[];
  /** The gradients of outputs, where the caller's are copied if they have to be, and of inputs. */
  readonly ofOutputs: readonly number[];
  readonly ofInputs: readonly number[];
}

interface Gradient {
  readonly id: number;
  readonly shape: Shape;
  readonly slot: number;
  /** Values whose gradient it is. */
  users: number;
  /** May be the caller's memory, which is not written. */
  readonly isGiven: boolean;
}

/**
 * Plans a backward for values of these shapes. A value that is used several times gets the sum of
 * its gradients: the last user's first, and each one before it is added to what there is.
 */
export function planGradients({ inputs, nodes, outputs }: Wiring, shapes: readonly Shape[]): GradientPlan {
  const steps: BackwardStep[] = [];
  const gradients: Gradient[] = [];
  const slots: number[] = [];
  let free: number[] = [];
  const found: (Gradient | undefined)[] = shapes.map(() => undefined);
  const isNeeded: boolean[] = shapes.map((_, value) => value >= inputs);
  for (const { layer, inputs: own, outputs: made } of nodes) {
    if (!layer) isNeeded[made[0]] = own.some((value) => isNeeded[value]);
  }
  const make = (shape: Shape, over?: Gradient, isGiven = false): Gradient => {
    const size = countOf(shape);
    let slot = over?.slot;
    if (slot === undefined) {
      // the smallest that is large enough, else the largest
      const fits = (a: number, b: number) =>
        slots[a] >= size ? slots[b] >= size && slots[b] < slots[a] : slots[b] > slots[a];
      slot = free.reduce<number | undefined>(
        (best, one) => (best === undefined || fits(best, one) ? one : best),
        undefined,
      );
      free = free.filter((one) => one !== slot);
      slot ??= slots.push(0) - 1;
    }
    slots[slot] = Math.max(slots[slot], size);
    const gradient = { id: gradients.length, shape, slot, users: 1, isGiven };
    gradients.push(gradient);
    return gradient;
  };
  const drop = (gradient: Gradient | undefined) => {
    if (gradient && --gradient.users === 0) free.push(gradient.slot);
  };
  const isOwn = ({ users, isGiven }: Gradient) => users === 1 && !isGiven;
  const contribute = (value: number, gradient: Gradient) => {
    const held = found[value];
    found[value] = gradient;
    if (!held) return;
    const over = [gradient, held].find(isOwn);
    const sum = make(shapes[value], over);
    steps.push({ node: -1, from: [gradient.id, held.id], to: [sum.id], isNeeded: isNeeded[value] });
    for (const one of [gradient, held]) if (one !== over) drop(one);
    found[value] = sum;
  };
  const ofOutputs = outputs.map((value) => {
    const gradient = make(shapes[value], undefined, true);
    contribute(value, gradient);
    return gradient.id;
  });
  for (let n = nodes.length - 1; n >= 0; n--) {
    const { layer, operation, inputs: own, outputs: made } = nodes[n];
    const dys = made.map((value) => found[value]);
    const [dy] = dys;
    if (layer) {
      const isOver = layer.isInPlace && isOwn(dy!) && sameShape(shapes[own[0]], dy!.shape);
      const dxs = own.map((value) => make(shapes[value], isOver ? dy : undefined));
      const needed = own.some((value) => isNeeded[value]);
      steps.push({ node: n, from: dys.map((one) => one?.id), to: dxs.map(({ id }) => id), isNeeded: needed });
      if (!isOver) dys.forEach(drop);
      own.forEach((value, i) => {
        contribute(value, dxs[i]);
      });
      continue;
    }
    const isHandedOn = own.map((value) => operation!.handsOn(shapes[value], dy!.shape));
    const dxs = own.map((value, i) => (isHandedOn[i] ? undefined : make(shapes[value])));
    const to = dxs.map((dx) => dx?.id);
    if (dxs.some((dx) => dx)) steps.push({ node: n, from: [dy!.id], to, isNeeded: isNeeded[made[0]] });
    dxs.forEach((dx, i) => {
      if (!dx) dy!.users++;
      contribute(own[i], dx ?? dy!);
    });
    drop(dy);
  }
  const ofInputs = Array.from({ length: inputs }, (_, value) => {
    const held = found[value];
    if (held && isOwn(held)) return held.id;
    const copy = make(shapes[value]);
    steps.push({ node: -1, from: held ? [held.id] : [], to: [copy.id], isNeeded: false });
    drop(held);
    return copy.id;
  });
  return { steps, gradients, slots, ofOutputs, ofInputs };
}

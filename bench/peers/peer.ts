import type { Convnet } from '../convnets.ts';
import type { Work } from '../timing.ts';
import type { Workload } from '../workload.ts';
import type { TrainingStep } from './training.ts';

export type State = Record<string, { data: ArrayLike<number>; shape: readonly number[] }>;

/** One way to do a piece of work: timed as it is, and its output read once before. */
export interface Contender {
  work: Work;
  output: () => ArrayLike<number> | Promise<ArrayLike<number>>;
  dispose?: () => void;
  /** Takes seconds: called once a turn. */
  slow?: boolean;
}

/** A library that is measured beside. What it does not offer it leaves out. */
export interface Peer {
  readonly name: string;
  readonly version: string;
  /** Batch norm on a workload; `op` is `eval`, `train` or `backward`. */
  norm(op: string, workload: Workload): Promise<Contender | undefined>;
  /** The digits network on a batch, from its state dict. */
  network(rows: number, input: Float32Array, state: State): Promise<Contender | undefined>;
  /** A network of convolutions on images with channels first, `[batch, C, H, W]`. */
  convnet(net: Convnet, batch: number, images: Float32Array): Promise<Contender | undefined>;
  /** A training step; a peer that lacks a gradient rejects. */
  training?(step: TrainingStep): Promise<Contender>;
  close?(): void;
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SampleNormWorkload } from '../sample-norm-workload.ts';
import { EPS, type Workload } from '../workload.ts';
import type { TrainingStep } from './training.ts';

const SCRIPT = fileURLToPath(new URL('./pytorch.py', import.meta.url));
/** Debian's PyTorch belongs to Debian's Python, which need not be the first on the path. */
const PYTHONS = ['python3', '/usr/bin/python3'];

/** PyTorch in a process of its own: it times itself, in turns with the others. */
export class PyTorch {
  readonly version: string;
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'evenkeel-bench-'));

  private constructor(process: ChildProcess, answers: AsyncIterator<string>, version: string) {
    this.#process = process;
    this.#answers = answers;
    this.version = version;
  }

  /** Starts it; undefined where there is none. */
  static async start(): Promise<PyTorch | undefined> {
    const python = PYTHONS.find((name) => spawnSync(name, ['-c', 'import torch, numpy']).status === 0);
    if (!python) return undefined;
    const process = spawn(python, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
    const answers = createInterface({ input: process.stdout! })[Symbol.asyncIterator]();
    const { version } = JSON.parse((await answers.next()).value);
    return new PyTorch(process, answers, version);
  }

  /**
   * Makes ready for one op (`eval`, `train` or `backward` of batch norm; another norm, or `…,
   * backward`) on a workload, and returns its result.
   */
  async prepare(op: string, workload: Workload | SampleNormWorkload): Promise<Float32Array> {
    const { x, dy, gamma, beta, stored, layout } = workload;
    const isSampleNorm = workload instanceof SampleNormWorkload;
    const files = {
      x,
      dy,
      gamma,
      beta,
      ...(!isSampleNorm && { mean: workload.runningMean, var: workload.runningVar }),
    };
    const groups = isSampleNorm ? workload.shape.groups : undefined;
    this.#write(files);
    await this.#ask({ do: 'prepare', op, folder: this.#folder, shape: stored, eps: EPS, layout, groups });
    return this.#result();
  }

  /** Makes ready for a training step, and returns what is compared of it. */
  async prepareTraining({ images, labels, convolutions, linear, ...numbers }: TrainingStep): Promise<Float32Array> {
    const weights = Object.fromEntries(convolutions.map(({ weight }, i) => [`conv${i}`, weight]));
    this.#write({ images, labels: Float32Array.from(labels), linear, ...weights });
    const shapes = convolutions.map(({ shape }) => shape);
    await this.#ask({ do: 'training', folder: this.#folder, shapes, ...numbers });
    return this.#result();
  }

  #write(files: Record<string, Float32Array>): void {
    for (const [name, data] of Object.entries(files)) {
      writeFileSync(join(this.#folder, name), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }

  async #result(): Promise<Float32Array> {
    await this.#ask({ do: 'output' });
    const bytes = readFileSync(join(this.#folder, 'y'));
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  }

  /** Microseconds of single calls, for so many milliseconds. */
  async time(milliseconds: number): Promise<number[]> {
    return (await this.#ask({ do: 'time', milliseconds })).samples as number[];
  }

  close(): void {
    this.#process.stdin!.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #ask(request: object): Promise<Record<string, unknown>> {
    this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('PyTorch ended; its last words are above');
    return JSON.parse(value);
  }
}

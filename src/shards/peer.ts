// BullMQ, an optional peer: as much of it as runs use.

import { show, wrongKind, wrongMoment } from '../errors.ts';

/** A job of BullMQ. */
export interface Job {
  readonly id?: string;
  readonly data: JobData;
  readonly returnvalue: unknown;
  readonly failedReason?: string;
  readonly attemptsMade: number;
  getState(): Promise<string>;
  getDependenciesCount(options?: object): Promise<{ processed?: number; unprocessed?: number; failed?: number }>;
  remove(options?: { removeChildren?: boolean }): Promise<void>;
}

/** What a shard's job is given. */
export interface JobData {
  readonly run: string;
  readonly key: string;
  readonly input: unknown;
  readonly task: string;
  readonly version: string;
}

interface Emitter {
  on(event: string, listener: (...values: never[]) => void): unknown;
  close(force?: boolean): Promise<void>;
}

export interface Queue extends Emitter {
  waitUntilReady(): Promise<unknown>;
  getJob(id: string): Promise<Job | undefined>;
}

export interface FlowProducer extends Emitter {
  addBulk(flows: object[]): Promise<unknown>;
}

export interface Worker extends Emitter {
  waitUntilReady(): Promise<unknown>;
}

type Backend = unknown;

export interface BullMQ {
  Queue: new (name: string, options: object, backend?: Backend) => Queue;
  FlowProducer: new (options: object, backend?: Backend) => FlowProducer;
  Worker: new (
    name: string,
    processor: (job: Job, token?: string, signal?: AbortSignal) => Promise<unknown>,
    options: object,
    backend?: Backend,
  ) => Worker;
  createPostgresBackend: Backend;
  /** From version 6 on. */
  BULLMQ_MAJOR_VERSION?: number;
}

/**
 * How BullMQ is reached: `redis://host:6379` or `postgres://user@host/database`, or the options of
 * its `connection`, which are PostgreSQL's where they have a `connectionString`.
 */
export type BrokerConnection = string | Readonly<Record<string, unknown>>;

/** A connection as BullMQ takes it, with what makes its backend. */
export interface Broker {
  readonly bullmq: BullMQ;
  readonly connection: object;
  readonly backend: Backend;
  /** For messages: without user and password. */
  readonly shown: string;
}

/** The major versions that the adapter is written for. */
const MAJOR = 6;

async function peer(subject: string, name: string): Promise<unknown> {
  try {
    return await import([name][0]);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== 'ERR_MODULE_NOT_FOUND' && !/Cannot find/.test(message)) throw error;
    throw wrongMoment('ERR_PEER', subject, 'the package', name, 'none', `npm install ${name}`);
  }
}

/**
 * BullMQ, and the driver of its broker.
 *
 * @throws ERR_PEER with the command that installs what is missing; ERR_OPTION for a connection that
 *   is none
 */
export async function brokerOf(subject: string, given: unknown): Promise<Broker> {
  const isText = typeof given === 'string';
  if (!(isText ? /^(rediss?|postgres(ql)?):\/\//.test(given) : typeof given === 'object' && given)) {
    const expected = "'redis://…', 'postgres://…' or options of a connection";
    throw wrongKind('ERR_OPTION', subject, 'connection', expected, show(given));
  }
  const options = (isText ? {} : given) as Record<string, unknown>;
  const isPostgres = isText ? given.startsWith('postgres') : 'connectionString' in options;
  const bullmq = (await peer(subject, 'bullmq')) as BullMQ;
  if (bullmq.BULLMQ_MAJOR_VERSION !== MAJOR) {
    const got = `version ${bullmq.BULLMQ_MAJOR_VERSION ?? `before ${MAJOR}`}`;
    throw wrongMoment(
      'ERR_PEER',
      subject,
      'the package bullmq',
      `version ${MAJOR}`,
      got,
      `npm install bullmq@${MAJOR}`,
    );
  }
  await peer(subject, isPostgres ? 'pg' : 'ioredis');
  const text = isText
    ? given
    : `${options.connectionString ?? `${options.host ?? 'localhost'}:${options.port ?? 6379}`}`;
  // one migration makes the tables; the lock of BullMQ lets one process do it
  const postgres = { ...(isText ? { connectionString: given } : options), migrate: options.migrate ?? true };
  return {
    bullmq,
    connection: isPostgres ? postgres : isText ? { url: given } : options,
    backend: isPostgres ? bullmq.createPostgresBackend : undefined,
    shown: text.replace(/\/\/[^@/]*@/, '//'),
  };
}

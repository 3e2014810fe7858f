// Redis and PostgreSQL for tests, on ports of their own: started, killed, and started anew.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A broker that may be killed. */
export interface Broker {
  readonly name: 'Redis' | 'PostgreSQL';
  readonly connection: string;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it with the data that it had. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time));

const runs = (file: string, ...args: string[]): boolean => {
  try {
    execFileSync(file, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

async function until(isReady: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 60_000; !isReady(); await pause(100)) {
    if (Date.now() > end) throw new Error(`${what} did not start`);
  }
}

const ended = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/** Why there is no broker here; undefined where there is one. */
export function missing(name: Broker['name']): string | undefined {
  const file = name === 'Redis' ? 'redis-server' : postgres('postgres');
  return runs(file, '--version') ? undefined : `${name} is not installed (apt-get install redis-server postgresql)`;
}

/** Where Debian puts PostgreSQL's programs. */
function postgres(program: string): string {
  for (const version of [18, 17, 16, 15, 14, 13]) {
    const file = `/usr/lib/postgresql/${version}/bin/${program}`;
    if (runs(file, '--version')) return file;
  }
  return program;
}

/** Redis with an append-only file that is written every second, and without eviction. */
export async function startRedis(): Promise<Broker> {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-redis-'));
  const port = await freePort();
  let child: ChildProcess;
  const start = async () => {
    const options = [
      '--appendonly',
      'yes',
      '--appendfsync',
      'everysec',
      '--maxmemory-policy',
      'noeviction',
      '--save',
      '',
    ];
    child = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, ...options], {
      stdio: 'ignore',
    });
    const answers = () => {
      try {
        return execFileSync('redis-cli', ['-p', `${port}`, 'ping'], { encoding: 'utf8' }).includes('PONG');
      } catch {
        return false;
      }
    };
    await until(answers, 'Redis');
  };
  await start();
  const kill = async () => {
    child.kill('SIGKILL');
    await ended(child);
  };
  return {
    name: 'Redis',
    connection: `redis://127.0.0.1:${port}`,
    kill,
    start,
    async stop() {
      await kill();
      rmSync(folder, { recursive: true });
    },
  };
}

/** PostgreSQL with a cluster of its own; as the user `postgres` where this one is root. */
export async function startPostgres(): Promise<Broker> {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-postgres-'));
  const port = await freePort();
  const isRoot = process.getuid?.() === 0;
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const user = isRoot ? { uid: id('-u'), gid: id('-g') } : {};
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o700);
  const data = join(folder, 'data');
  execFileSync(postgres('initdb'), ['-D', data, '-U', 'evenkeel', '-A', 'trust', '--no-sync'], {
    ...user,
    cwd: folder,
    stdio: 'ignore',
  });
  let child: ChildProcess;
  const start = async () => {
    child = spawn(
      postgres('postgres'),
      ['-D', data, '-p', `${port}`, '-c', 'listen_addresses=127.0.0.1', '-k', folder],
      {
        ...user,
        cwd: folder,
        stdio: 'ignore',
      },
    );
    await until(() => runs(postgres('pg_isready'), '-h', '127.0.0.1', '-p', `${port}`), 'PostgreSQL');
  };
  await start();
  return {
    name: 'PostgreSQL',
    connection: `postgres://evenkeel@127.0.0.1:${port}/postgres`,
    async kill() {
      // immediate: without writing anything back
      child.kill('SIGQUIT');
      await ended(child);
    },
    start,
    async stop() {
      child.kill('SIGQUIT');
      await ended(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

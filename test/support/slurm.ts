// Slurm on one node, with a configuration of its own.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why there is no Slurm here; undefined where there is. */
export function missingSlurm(): string | undefined {
  try {
    for (const program of ['slurmctld', 'slurmd', 'sbatch'])
      execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
  } catch {
    return 'Slurm is not installed (apt-get install slurm-wlm)';
  }
  return process.getuid?.() === 0 ? undefined : 'slurmd runs as root alone';
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Starts it; the path of its configuration, for SLURM_CONF, and what ends it. */
export async function startSlurm(): Promise<{ config: string; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-slurm-'));
  const [node] = hostname().split('.');
  const config = join(folder, 'slurm.conf');
  for (const name of ['state', 'spool']) mkdirSync(join(folder, name));
  writeFileSync(
    config,
    `ClusterName=test
SlurmctldHost=${node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort=${await freePort()}
SlurmdPort=${await freePort()}
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.pid
SlurmctldLogFile=${folder}/slurmctld.log
SlurmdLogFile=${folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=${node} NodeAddr=127.0.0.1 CPUs=${availableParallelism()} State=UNKNOWN
PartitionName=all Nodes=${node} Default=YES MaxTime=INFINITE State=UP
`,
  );
  const env = { ...process.env, SLURM_CONF: config };
  const daemons: ChildProcess[] = ['slurmctld', 'slurmd'].map((program) =>
    spawn(program, ['-D'], { env, stdio: 'ignore' }),
  );
  const stop = async () => {
    for (const daemon of daemons) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGKILL');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  for (const end = Date.now() + 60_000; ; ) {
    try {
      if (/idle/.test(execFileSync('sinfo', ['-h'], { env, encoding: 'utf8', timeout: 5000 }))) break;
    } catch {}
    if (Date.now() > end) {
      await stop();
      throw new Error('Slurm did not start');
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return { config, stop };
}

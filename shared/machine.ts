/** Who a process is, in a way that still means something after a crash or on another computer. */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  machine_id: string;
  boot_id: string;
  /** Two containers of one machine count their processes apart. */
  pid_namespace: string;
  pid: number;
  /** Clock ticks between boot and the process's start; `''` where the platform does not tell. */
  start: string;
}

let self: ProcessIdentity | undefined;

export function thisProcess(): ProcessIdentity {
  self ??= {
    machine_id: read('/etc/machine-id') || read('/var/lib/dbus/machine-id') || hostname(),
    boot_id: bootId(),
    pid_namespace: namespace(),
    pid: process.pid,
    start: statOf(process.pid).start,
  };
  return self;
}

/**
 * True only when the process can be proved to be gone: the machine was started anew since, or no process has that
 * number, or another one has it now, or it ended and only waits for its parent to notice. False for a process of another machine or namespace: it cannot be seen from here.
 */
export function isGone(other: ProcessIdentity): boolean {
  const me = thisProcess();
  if (other.machine_id !== me.machine_id) return false;
  if (other.boot_id !== me.boot_id) return other.boot_id !== '' && me.boot_id !== '';
  if (other.pid_namespace !== me.pid_namespace) return false;
  try {
    process.kill(other.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const { state, start } = statOf(other.pid);
  if (state === 'Z' || state === 'X') return true;
  return start !== '' && other.start !== '' && start !== other.start;
}

export function isThisProcess(other: ProcessIdentity): boolean {
  const me = thisProcess();
  const names = ['machine_id', 'boot_id', 'pid_namespace', 'pid', 'start'] as const;
  return names.every((name) => other[name] === me[name]);
}

/** A process as a row of the database keeps it; null: none, or nothing that can be read. */
export function readProcess(text: string | null): ProcessIdentity | null {
  try {
    return text === null || text === '' ? null : (JSON.parse(text) as ProcessIdentity);
  } catch {
    return null;
  }
}

/** Linux names each boot; elsewhere the process stands for its boot, so that "another boot" is never claimed. */
function bootId(): string {
  return read('/proc/sys/kernel/random/boot_id');
}

function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}

/** Fields 3 and 22 of /proc/PID/stat, counted after the name, which may hold spaces and brackets; `''` where unknown. */
function statOf(pid: number): { state: string; start: string } {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', start: fields[19] ?? '' };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

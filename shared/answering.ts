/**
 * Does what is mounted here answer at all? Behind a network filesystem or a driver in user space stands another process or
 * computer; where that is silent, whoever asks the kernel for anything hangs, with all else that he does. So another
 * process is sent ahead. Linux; elsewhere everything is taken to answer.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { displayPath } from './paths.ts';
import { filesystemName, isNetworkFilesystem, type Mount } from './platform.ts';

/** Milliseconds. A disk that has to spin up does not hold up a question about the filesystem itself. */
const PATIENCE_MS = 3000;

/** Whether the mount could be silent: all others fail sooner or later, because the kernel itself has the disk. */
export function mayBeSilent({ filesystem }: Pick<Mount, 'filesystem'>): boolean {
  return filesystem.startsWith('fuse') || isNetworkFilesystem(filesystemName(filesystem));
}

/**
 * False: it has not answered for three seconds, or did not the time before and still has not. Asks only once at a time;
 * whoever asks again until then hears so at once.
 * @param late called when that turns out, by whoever noticed it first.
 */
export async function answers(mount: Mount, late: () => void = () => {}): Promise<boolean> {
  if (process.platform !== 'linux' || !mayBeSilent(mount)) return true;
  const key = keyOf(mount);
  const question = open.get(key) ?? ask(key, mount.mount_path);
  if (question.late) return false;
  let timer: NodeJS.Timeout | undefined;
  const silent = new Promise<boolean>((done) => {
    timer = setTimeout(() => {
      if (!question.late) late();
      question.late = true;
      done(false);
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([question.answered, silent]);
  } finally {
    clearTimeout(timer);
  }
}

/** Of what is mounted no more nobody waits for an answer. @param mounts all there are now. */
export function forgetUnmounted(mounts: readonly Mount[]): void {
  if (open.size === 0) return;
  const there = new Set(mounts.map(keyOf));
  for (const [key, { child }] of open) {
    if (there.has(key)) continue;
    open.delete(key);
    child.kill('SIGKILL');
  }
}

/** Whether a mount at this path was asked, and has not answered for too long. */
export function isSilent(path: string): boolean {
  return [...open.values()].some((one) => one.late && one.path === path);
}

/** The end of a sentence about a drive that is not there: it may be one of those that do not answer. Empty: all do. */
export function silence(): string {
  const places = [...open.values()].flatMap(({ path, late }) => (late ? [displayPath(path)] : []));
  return places.length === 0 ? '' : `; what is mounted at ${places.join(' and ')} does not answer`;
}

// --- internal ---

interface Question {
  path: string;
  child: ChildProcess;
  answered: Promise<boolean>;
  late: boolean;
}

/** By the mount: what was mounted in its place since is another one. */
const open = new Map<string, Question>();

const keyOf = ({ device_number, mount_path }: Mount): string => `${device_number} ${mount_path}`;

function ask(key: string, path: string): Question {
  if (open.size === 0) process.once('exit', giveUp);
  const child = spawn('stat', ['-f', '--', path], { stdio: 'ignore' });
  // A process that has nothing else to do does not wait for it.
  child.unref();
  const answered = new Promise<boolean>((done) => {
    const end = (): void => {
      if (open.get(key) === question) open.delete(key);
      if (open.size === 0) process.off('exit', giveUp);
      done(true);
    };
    // Without the program nothing can be known.
    child.once('error', end);
    child.once('exit', end);
  });
  const question: Question = { path, child, answered, late: false };
  open.set(key, question);
  return question;
}

function giveUp(): void {
  for (const { child } of open.values()) child.kill('SIGKILL');
}

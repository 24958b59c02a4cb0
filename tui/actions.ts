/**
 * Work that the dashboard starts: commands of the command line, each in a process of its own that outlives the dashboard.
 * What became of one comes back as a sentence for a toast, and what it printed where that is to be shown.
 */
import { type Detached, spawnDetached } from '../shared/detach.ts';
import { EXIT } from '../shared/errors.ts';
import type { Folders } from './source.ts';

export interface Outcome {
  style: 'good' | 'warn' | 'bad';
  /** One line. */
  text: string;
  /** What to do about it, where it failed. */
  hint?: string;
  /** What it printed, line by line. */
  lines: string[];
}

/** What a command is told beside its words. */
export interface Secrets {
  /** For its stdin; what it prints then stays in memory. */
  stdin?: string | undefined;
  /** Opens the key of a sealed group, for commands that read no stdin: their TANDEM_PASSWORD. */
  password?: string | undefined;
}

export interface Commands {
  start(words: readonly string[], label: string, onEnd: (outcome: Outcome) => void, secrets?: Secrets): void;
  /** Lets go of those that still run; they go on. */
  release(): void;
}

export function startCommands(folders: Folders): Commands {
  const going = new Set<Detached>();
  return {
    start: (words, label, onEnd, { stdin, password } = {}) => {
      const command = spawnDetached([...words, '--no-color'], folders, {
        keepOutput: true,
        startedBy: 'dashboard',
        input: stdin,
        password,
      });
      going.add(command);
      void command.ended.then((code) => {
        if (!going.delete(command)) return;
        const outcome = outcomeOf(label, code, command.printed(), command.complaint());
        command.release();
        onEnd(outcome);
      });
    },
    release: () => {
      for (const command of going) command.release();
      going.clear();
    },
  };
}

/** What a command that ended with `code` amounts to. */
export function outcomeOf(label: string, code: number, printed: string, complaint: string): Outcome {
  const lines = [printed, complaint].flatMap((text) => text.split('\n')).filter((line) => line.trim() !== '');
  const said = complaint.split('\n').filter((line) => line.trim() !== '');
  const after = (word: string): string | undefined =>
    said
      .find((line) => line.startsWith(word))
      ?.slice(word.length)
      .trim();
  const { message, hint } = errorIn(printed) ?? { message: after('error:') ?? said.at(-1), hint: after('hint:') };
  if (code === EXIT.done) return { style: 'good', text: `${label}: done`, lines };
  if (code === EXIT.conflicts) return { style: 'warn', text: `${label}: done, conflicts are waiting`, lines };
  if (code === EXIT.partial) return { style: 'warn', text: `${label}: partly done, some files failed`, lines };
  if (code === EXIT.cancelled) return { style: 'warn', text: `${label}: cancelled`, lines };
  const text = `${label}: ${message ?? `it ended with code ${code}`}`;
  return { style: 'bad', text, lines, ...(hint && { hint }) };
}

// --- internal ---

/** With `--json` an error is a document too. */
function errorIn(printed: string): { message: string; hint: string | undefined } | undefined {
  if (!printed.startsWith('{')) return undefined;
  try {
    const { error } = JSON.parse(printed) as { error?: { message: string; hint: string | null } };
    return error && { message: error.message, hint: error.hint ?? undefined };
  } catch {
    return undefined;
  }
}

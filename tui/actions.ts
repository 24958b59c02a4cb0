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
  /** What it printed, line by line. */
  lines: string[];
}

export interface Commands {
  /** @param stdin a secret, which must not be among the words */
  start(words: readonly string[], label: string, onEnd: (outcome: Outcome) => void, stdin?: string): void;
  /** Lets go of those that still run; they go on. */
  release(): void;
}

export function startCommands(folders: Folders): Commands {
  const going = new Set<Detached>();
  return {
    start: (words, label, onEnd, stdin) => {
      const command = spawnDetached([...words, '--no-color'], folders, {
        keepOutput: true,
        startedBy: 'dashboard',
        stdin,
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
  const error = said.find((line) => line.startsWith('error: '))?.slice('error: '.length) ?? said.at(-1);
  if (code === EXIT.done) return { style: 'good', text: `${label}: done`, lines };
  if (code === EXIT.conflicts) return { style: 'warn', text: `${label}: done, conflicts are waiting`, lines };
  if (code === EXIT.partial) return { style: 'warn', text: `${label}: partly done, some files failed`, lines };
  if (code === EXIT.cancelled) return { style: 'warn', text: `${label}: cancelled`, lines };
  return { style: 'bad', text: `${label}: ${error ?? `it ended with code ${code}`}`, lines };
}

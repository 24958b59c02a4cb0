/** Questions on a terminal, one line each, asked on stderr so that stdout holds only data. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Prompts } from './context.ts';
import { TandemError } from './errors.ts';
import { displayPath } from './paths.ts';

export interface PromptOptions {
  /** Whether a person sits at a terminal; if not, `fallback` answers all but what `yes` answers. */
  interactive: boolean;
  yes: boolean;
  /** Ends a waiting question as `cancelled`. */
  signal: AbortSignal;
  fallback: Prompts;
  /** Around each question, for whatever else writes to the terminal. */
  during?<T>(question: () => Promise<T>): Promise<T>;
}

export function terminalPrompts(options: PromptOptions): Prompts {
  const { interactive, yes, signal, fallback, during = (question) => question() } = options;
  if (!interactive) {
    return {
      ...fallback,
      confirm: (question, flag) => (yes ? Promise.resolve(true) : fallback.confirm(question, flag)),
    };
  }
  const ask = (question: string): Promise<string> => during(() => askOnTerminal(question, signal));
  return {
    interactive: true,
    confirm: async (question) => {
      if (yes) return true;
      for (;;) {
        const answer = (await ask(`${displayPath(question)} [y/N] `)).toLowerCase();
        if (answer === 'y' || answer === 'yes') return true;
        if (answer === '' || answer === 'n' || answer === 'no') return false;
      }
    },
    choose: async (question, rows) => {
      const list = rows.map((row, index) => `  ${index + 1}  ${displayPath(row)}`).join('\n');
      for (;;) {
        const answer = Number(await ask(`${displayPath(question)}\n${list}\nNumber: `));
        if (Number.isInteger(answer) && answer >= 1 && answer <= rows.length) return answer - 1;
      }
    },
    input: (question) => ask(`${displayPath(question)} `),
    secret: (question) =>
      during(async () => {
        process.stderr.write(`${displayPath(question)} `);
        try {
          return await askOnTerminal('', signal, SILENT, false);
        } finally {
          process.stderr.write('\n');
        }
      }),
  };
}

// --- internal ---

/** The echo of a secret goes nowhere. */
const SILENT = new Writable({ write: (_chunk, _encoding, done) => done() });

async function askOnTerminal(
  question: string,
  signal: AbortSignal,
  output: Writable = process.stderr,
  trimmed = true,
): Promise<string> {
  const reader = createInterface({ input: process.stdin, output, ...(output === SILENT && { terminal: true }) });
  const closed = new Promise<never>((_, fail) => {
    reader.once('close', () => fail(unanswered()));
    reader.once('SIGINT', () => fail(unanswered()));
  });
  closed.catch(() => {});
  const answer = reader.question(question, { signal }).catch(() => {
    throw unanswered();
  });
  try {
    const text = await Promise.race([answer, closed]);
    return trimmed ? text.trim() : text;
  } finally {
    reader.close();
  }
}

function unanswered(): TandemError {
  return new TandemError('cancelled', 'The question was not answered.', { hint: 'Nothing was changed.' });
}

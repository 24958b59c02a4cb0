/**
 * Where passwords and keys come from: a file that only the user can read, the environment, a hidden prompt. Never an
 * argument: arguments are seen by every user of the machine.
 */
import { closeSync, fstatSync, readFileSync } from 'node:fs';
import type { Context } from './context.ts';
import { TandemError } from './errors.ts';
import { formatBytes } from './format.ts';
import { displayPath } from './paths.ts';
import { isRecoveryLine, RECOVERY_LINES } from './recovery-key.ts';
import { LEAST_KEY_FILE } from './sealed.ts';
import { openInput } from './streams.ts';

/** What a user gives. */
export type GivenSecret = { kind: 'password'; password: string } | { kind: 'key_file'; bytes: Buffer };

/** Files that a user named for it; `-` is stdin. */
export interface SecretFiles {
  passwordFile?: string | undefined;
  keyFile?: string | undefined;
}

/** Of a question for a password. */
export interface Asking {
  question: string;
  /** `new`: asked two times; `ring`: a recovery key opens it too. */
  what: 'password' | 'new' | 'ring';
  /** Ends the sentence that says what to give where there is no terminal. */
  flags: string;
}

/** @throws TandemError `usage` for a file that others may read, or one that holds no secret; `not_found`. */
export function secretInFile({ passwordFile, keyFile }: SecretFiles): GivenSecret | undefined {
  if (passwordFile !== undefined && keyFile !== undefined)
    throw new TandemError('usage', 'A password file and a key file are named, and only one of them can count.', {
      hint: 'Give a password or a key file, not both.',
    });
  if (keyFile !== undefined) return { kind: 'key_file', bytes: keyFileBytes(keyFile) };
  if (passwordFile === undefined) return undefined;
  return password(passwordFile === STDIN ? readFileSync(0, 'utf8') : privateFile(passwordFile).toString('utf8'));
}

/**
 * Two passwords through one stdin, where both are named `-`: the last line is the new one, what stands before it the
 * present one or the lines of a recovery key.
 * @throws TandemError `usage` when there is but one.
 */
export function passwordsInStdin(): { present: GivenSecret; fresh: GivenSecret } {
  const text = readFileSync(0, 'utf8').replace(/\r?\n$/, '');
  const cut = text.lastIndexOf('\n');
  if (cut < 0)
    throw new TandemError('usage', 'Stdin is to hold the present password and the new one, and has one line.', {
      hint: 'Give the new password on a line of its own after the present one.',
    });
  return { present: password(text.slice(0, cut)), fresh: password(text.slice(cut + 1)) };
}

/** A line of text that is secret, such as a token. @throws TandemError as `secretInFile` does. */
export function secretLine(path: string): string {
  const text = privateFile(path).toString('utf8').trim();
  if (text !== '' && !/[\r\n]/.test(text)) return text;
  throw new TandemError('usage', `The file '${displayPath(path)}' has to hold one line.`, {
    hint: 'Write the address or the token into it, and nothing else.',
  });
}

/** A line of text on stdin that is secret. @throws TandemError `usage` */
export function secretOnStdin(): string {
  const text = readFileSync(0, 'utf8').trim();
  if (text !== '' && !/[\r\n]/.test(text)) return text;
  throw new TandemError('usage', 'Stdin has to hold one line.', { hint: 'Write the address to it, and nothing else.' });
}

/** The variable TANDEM_PASSWORD, unless it is empty. */
export function secretInEnvironment(): GivenSecret | undefined {
  const given = process.env['TANDEM_PASSWORD'];
  return given === undefined || given === '' ? undefined : password(given);
}

/** Asks at a hidden prompt; a recovery key may be typed line by line. @throws TandemError `usage` */
export async function askedSecret({ question, what, flags }: Asking, ctx: Context): Promise<GivenSecret> {
  let first = await ctx.prompts.secret(question, flags);
  if (what === 'new') {
    if ((await ctx.prompts.secret('Once more:', flags)) !== first)
      throw new TandemError('usage', 'The two passwords differ.', { hint: 'Nothing was written; try again.' });
    return password(first);
  }
  for (
    let line = 2;
    what === 'ring' && line <= RECOVERY_LINES && isRecoveryLine(lastLine(first), line - 1);
    line += 1
  ) {
    const next = await ctx.prompts.secret(`Recovery key, line ${line} of ${RECOVERY_LINES}:`, flags);
    // One password in two thousand of that length looks like a first line.
    if (next === '' && line === 2) break;
    if (!isRecoveryLine(next, line))
      throw new TandemError('key', `This is not line ${line} of a recovery key, or it was mistyped.`, {
        hint: 'Nothing was changed; compare it with the paper and try again.',
      });
    first += `\n${next}`;
  }
  return password(first);
}

// --- internal ---

const STDIN = '-';
/** Bytes of a secret; anything larger is no password and no key. */
const LARGEST_SECRET = 1024 * 1024;

const lastLine = (text: string): string => text.slice(text.lastIndexOf('\n') + 1);

function password(text: string): GivenSecret {
  if (text.replace(/\r?\n$/, '') === '')
    throw new TandemError('usage', 'The password is empty.', {
      hint: 'Nothing was written; give one that nobody guesses.',
    });
  return { kind: 'password', password: text };
}

function keyFileBytes(path: string): Buffer {
  const bytes = privateFile(path);
  if (bytes.length >= LEAST_KEY_FILE) return bytes;
  throw new TandemError(
    'usage',
    `The key file '${displayPath(path)}' has ${bytes.length} bytes, and needs at least ${LEAST_KEY_FILE}.`,
    {
      hint: 'Make one with: head -c 64 /dev/urandom > key; chmod 600 key',
    },
  );
}

function privateFile(path: string): Buffer {
  const fd = openInput(path);
  try {
    const stat = fstatSync(fd);
    if (stat.isFile() && process.platform !== 'win32' && (stat.mode & 0o077) !== 0)
      throw new TandemError(
        'usage',
        `Others may read the file '${displayPath(path)}' (its mode is ${(stat.mode & 0o777).toString(8)}).`,
        {
          hint: `Take that right away: chmod 600 ${displayPath(path)}`,
        },
      );
    if (stat.size > LARGEST_SECRET)
      throw new TandemError(
        'usage',
        `The file '${displayPath(path)}' is too large for a secret: ${formatBytes(stat.size)}.`,
        { hint: 'Name the right file.' },
      );
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

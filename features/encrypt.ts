/**
 * Seals single files and opens them again: a password or a key file in, a file out that nobody reads or changes unnoticed
 * without it. Works on files and on streams (`-`), knows no groups and no drives; the verbs for the key of a group are in
 * `slots`. What is written takes its name only when it is whole and on the medium; a file that cannot be opened to its end
 * leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Context, confirmed } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { defineCommand, type Output, runIfMain, type Values } from '../shared/feature.ts';
import { formatBytes } from '../shared/format.ts';
import { displayPath } from '../shared/paths.ts';
import { LANES_FROM, throughLanes } from '../shared/seal-lanes.ts';
import {
  type ChunkKeys,
  HEADER_BYTES,
  Opener,
  openingKeys,
  plainSize,
  readHeader,
  type SealedHeader,
  Sealer,
  type Secret,
  sealingKeys,
} from '../shared/sealed.ts';
import { askedSecret, type SecretFiles, secretInEnvironment, secretInFile } from '../shared/secrets.ts';
import { openInput, standardInput, toStandardOutput } from '../shared/streams.ts';
import { keyOfFile } from './keyring.ts';
import { ringVerbs } from './slots.ts';

export type { SealedHeader, Secret } from '../shared/sealed.ts';

/** Bytes that went in and came out. */
export interface SealResult {
  input: string;
  output: string;
  bytes_in: number;
  bytes_out: number;
}

const STREAM = '-';
const SUFFIX = '.encrypted';

/**
 * Reference: `encrypt_file`.
 * @param input,output paths, or `-` for stdin and stdout.
 * @throws TandemError `not_found`, `failed`, `cancelled`; nothing is left under the name of the output then.
 */
export async function sealFile(input: string, output: string, secret: Secret, ctx: Context): Promise<SealResult> {
  const target = new Target(input, output);
  try {
    if (await target.inLanes('seal', () => sealingKeys(secret), ctx)) return target.finish();
    const sealer = new Sealer(secret);
    await target.write([sealer.header]);
    for await (const piece of piecesOf(input, ctx)) {
      target.read += piece.length;
      await target.write(sealer.update(piece));
    }
    await target.write(sealer.final());
    return target.finish();
  } finally {
    target.discard();
  }
}

/**
 * Reference: `decrypt_file`.
 * @param secretFor asked once, with what the header says; asked for nothing when the file is no sealed one.
 * @throws TandemError `key` for a secret that does not fit, `invalid` for a file that is not sealed, `failed` for one that is damaged.
 */
export async function openFile(
  input: string,
  output: string,
  secretFor: (header: SealedHeader) => Secret | Promise<Secret>,
  ctx: Context,
): Promise<SealResult> {
  const target = new Target(input, output);
  let head = Buffer.alloc(0);
  let opener: Opener | undefined;
  const keysFor = async (fd: number): Promise<ChunkKeys> => {
    const start = Buffer.alloc(HEADER_BYTES);
    readSync(fd, start, 0, HEADER_BYTES, 0);
    const secret = await secretFor(readHeader(start));
    return openingKeys(start, () => secret);
  };
  try {
    if (await target.inLanes('open', keysFor, ctx)) return target.finish();
    for await (const piece of piecesOf(input, ctx)) {
      target.read += piece.length;
      if (opener !== undefined) {
        await target.write(opener.update(piece));
        continue;
      }
      head = Buffer.concat([head, piece]);
      if (head.length < HEADER_BYTES) continue;
      const secret = await secretFor(readHeader(head));
      opener = new Opener(() => secret);
      await target.write(opener.update(head));
    }
    await target.write((opener ?? tooShort(head)).final());
    return target.finish();
  } finally {
    target.discard();
  }
}

export interface SealedInfo extends SealedHeader {
  path: string;
  /** Of the sealed file, and of what is in it. */
  size: number;
  plain_size: number;
}

/** What the header says; needs no secret, and proves nothing of the content. */
export function inspectSealed(path: string): SealedInfo {
  const fd = openInput(path);
  try {
    const head = Buffer.alloc(HEADER_BYTES);
    const read = readSync(fd, head, 0, HEADER_BYTES, 0);
    const header = readHeader(head.subarray(0, read));
    const size = statSync(path).size;
    return { path, ...header, size, plain_size: plainSize(size, header) };
  } finally {
    closeSync(fd);
  }
}

// --- internal ---

/** Throws what is wrong with a file that ends before its header does. */
function tooShort(head: Buffer): never {
  readHeader(head);
  throw new Error('a short header was taken for a whole one');
}

/** The output, under another name until it is whole. */
class Target {
  read = 0;
  private written = 0;
  private readonly input: string;
  private readonly output: string;
  private readonly partial: string;
  private fd: number | undefined;

  constructor(input: string, output: string) {
    this.input = input;
    this.output = output;
    this.partial = join(dirname(resolve(output)), `.${basename(output)}.${randomBytes(6).toString('hex')}.partial`);
    if (output !== STREAM) this.fd = openSync(this.partial, 'wx', 0o600);
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    this.written += bytes;
    if (this.fd === undefined) for (const piece of pieces) await toStandardOutput(piece);
    else writeAll(this.fd, pieces);
  }

  /** True: all that was to be written was, by several threads; only of large files. */
  async inLanes(
    way: 'seal' | 'open',
    keysFor: (input: number) => ChunkKeys | Promise<ChunkKeys>,
    ctx: Context,
  ): Promise<boolean> {
    if (this.fd === undefined || !isLarge(this.input)) return false;
    const input = openInput(this.input);
    try {
      const keys = await keysFor(input);
      if (way === 'seal') writeAll(this.fd, [keys.header]);
      const { read, written } = await throughLanes({ way, input, output: this.fd }, keys, ctx.signal);
      this.read = read;
      this.written = written;
      return true;
    } finally {
      closeSync(input);
    }
  }

  /** Flush, then the name, then the folder: whoever sees the name sees all of it. */
  finish(): SealResult {
    const { fd, input, output } = this;
    if (fd !== undefined) {
      fsyncSync(fd);
      closeSync(fd);
      this.fd = undefined;
      if (input !== STREAM) {
        const { atime, mtime } = statSync(input);
        utimesSync(this.partial, atime, mtime);
      }
      renameSync(this.partial, output);
      flushFolder(dirname(resolve(output)));
    }
    return { input, output, bytes_in: this.read, bytes_out: this.written };
  }

  /** What did not become whole goes. */
  discard(): void {
    if (this.fd === undefined) return;
    closeSync(this.fd);
    this.fd = undefined;
    rmSync(this.partial, { force: true });
  }
}

function isLarge(input: string): boolean {
  const stat = input === STREAM ? undefined : statSync(input, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size >= LANES_FROM;
}

function flushFolder(path: string): void {
  try {
    const fd = openSync(path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  } catch {
    // Not every filesystem flushes folders; the rename is whole all the same.
  }
}

function writeAll(fd: number, pieces: readonly Uint8Array[]): void {
  let done = pieces.length > 0 ? writevSync(fd, pieces) : 0;
  for (const piece of pieces) {
    for (let at = done; at < piece.length; ) at += writeSync(fd, piece, at);
    done = Math.max(0, done - piece.length);
  }
}

/** A piece holds until the next one is asked for. */
async function* piecesOf(input: string, ctx: Context): AsyncGenerator<Uint8Array> {
  for await (const piece of input === STREAM ? standardInput() : readPieces(input)) {
    if (ctx.signal.aborted)
      throw new TandemError('cancelled', 'It was stopped before its end.', { hint: 'No file was written.' });
    yield piece;
  }
}

const PIECE = 4 * 1024 * 1024;

async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  const fd = openInput(path);
  try {
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    for (;;) {
      const read = readSync(fd, buffer, 0, PIECE, null);
      if (read === 0) return;
      yield buffer.subarray(0, read);
      // Reading never waits by itself: a signal gets its turn here.
      await new Promise((next) => setImmediate(next));
    }
  } finally {
    closeSync(fd);
  }
}

// --- where secrets come from ---

async function secretOf(options: SecretFiles, ask: 'once' | 'twice', ctx: Context): Promise<Secret> {
  const flags = '--password-file FILE, --key-file FILE or the variable TANDEM_PASSWORD';
  const given = secretInFile(options) ?? secretInEnvironment();
  return given ?? askedSecret({ question: 'Password:', what: ask === 'twice' ? 'new' : 'password', flags }, ctx);
}

/** A secret of the other kind is a wrong key, said before any time is spent on it. */
function fitting(header: SealedHeader, secret: Secret): Secret {
  if (header.key === secret.kind) return secret;
  const needs = { password: 'a password', key_file: 'a key file', group_key: 'the key of a group' }[header.key];
  throw new TandemError('key', `This file was sealed with ${needs}.`, {
    hint:
      header.key === 'key_file'
        ? 'Give --key-file FILE.'
        : 'Give the password at the prompt or with --password-file FILE.',
  });
}

/** Stdin is the content or the password. */
function apart(input: string, options: Values): void {
  if (input !== STREAM || options['passwordFile'] !== STREAM) return;
  throw new TandemError('usage', 'Stdin cannot be both the content and the password.', {
    hint: 'Put the password into a file that only you can read.',
  });
}

/** Asks before an existing file is replaced. */
async function outputFor(input: string, given: string | undefined, name: () => string, ctx: Context): Promise<string> {
  if (given === undefined && input === STREAM) return STREAM;
  const output = given ?? name();
  if (output === STREAM) return output;
  const there = statSync(output, { throwIfNoEntry: false });
  if (there === undefined) return output;
  const same = input === STREAM ? undefined : statSync(input, { throwIfNoEntry: false });
  if (!there.isFile() || (same?.ino === there.ino && same.dev === there.dev))
    throw new TandemError('usage', `'${displayPath(output)}' is ${there.isFile() ? 'the input itself' : 'no file'}.`, {
      hint: 'Name another file for the output.',
    });
  await confirmed(`${output} exists. Replace it?`, ctx);
  return output;
}

function opened(input: string): string {
  if (input.endsWith(SUFFIX) && input.length > SUFFIX.length) return input.slice(0, -SUFFIX.length);
  throw new TandemError(
    'usage',
    `'${displayPath(input)}' does not end in ${SUFFIX}, so its name says nothing of the output.`,
    {
      hint: 'Give a name for the output.',
    },
  );
}

function resultOutput(result: SealResult, verb: string): Output {
  const { input, output, bytes_in, bytes_out } = result;
  if (output === STREAM) return { json: null, text: () => '' };
  return {
    json: result,
    text: () =>
      `${verb} ${displayPath(input)} (${formatBytes(bytes_in)}) as ${displayPath(output)} (${formatBytes(bytes_out)}).`,
  };
}

// --- command ---

const SECRETS = [
  { flags: '--password-file <file>', description: 'file that holds the password; - for stdin', complete: 'path' },
  { flags: '--key-file <file>', description: 'file of at least 32 bytes that is the key', complete: 'path' },
] as const;
const INPUT = { name: 'in', description: 'file, or - for stdin', complete: 'path' } as const;
const OUTPUT = { name: 'out', description: 'file, or - for stdout', complete: 'path', optional: true } as const;

export const command = defineCommand({
  name: 'encrypt',
  summary: 'Seal single files, and keep the key of a sealed group',
  verbs: {
    seal: {
      summary: 'seal a file with a password or a key file',
      examples: [
        'tandem encrypt seal contract.pdf',
        'tar c Wedding | tandem encrypt seal - Wedding.tar.encrypted --key-file key',
      ],
      args: [INPUT, OUTPUT],
      options: SECRETS,
      run: async ({ args, options }, ctx) => {
        const input = args['in'] as string;
        apart(input, options);
        const output = await outputFor(input, args['out'], () => `${input}${SUFFIX}`, ctx);
        if (input !== STREAM) closeSync(openInput(input));
        return resultOutput(await sealFile(input, output, await secretOf(options, 'twice', ctx), ctx), 'Sealed');
      },
    },
    open: {
      summary: 'open a sealed file',
      examples: [
        'tandem encrypt open contract.pdf.encrypted',
        'tandem encrypt open Wedding.tar.encrypted - --key-file key | tar x',
      ],
      args: [INPUT, OUTPUT],
      options: SECRETS,
      run: async ({ args, options }, ctx) => {
        const input = args['in'] as string;
        apart(input, options);
        const output = await outputFor(input, args['out'], () => opened(input), ctx);
        const secretFor = async (header: SealedHeader): Promise<Secret> => {
          if (header.key !== 'group_key') return fitting(header, await secretOf(options, 'once', ctx));
          const given = secretInFile(options) ?? secretInEnvironment();
          const { key, keyId } = await keyOfFile(input === STREAM ? '.' : input, header.key_id ?? '', ctx, given);
          return { kind: 'group_key', key, keyId };
        };
        return resultOutput(await openFile(input, output, secretFor, ctx), 'Opened');
      },
    },
    inspect: {
      summary: 'what the header of a sealed file says; no secret is needed',
      examples: ['tandem encrypt inspect contract.pdf.encrypted --json'],
      args: [{ name: 'file', description: 'sealed file', complete: 'path' }],
      run: async ({ args }): Promise<Output> => {
        const info = inspectSealed(args['file'] as string);
        const key = {
          password: `password (PBKDF2, ${info.iterations} rounds)`,
          key_file: 'key file',
          group_key: `group key ${info.key_id}`,
        }[info.key];
        return {
          json: info,
          text: () =>
            [
              displayPath(info.path),
              `  sealed with  ${key}`,
              `  content      ${formatBytes(info.plain_size)} (${info.plain_size}) in parts of ${formatBytes(info.chunk_size)}`,
              `  format       version ${info.version}, AES-256-GCM`,
            ].join('\n'),
        };
      },
    },
    ...ringVerbs,
  },
});

runIfMain(import.meta, command);

/**
 * What files of cameras say of themselves, and the pictures embedded in RAW files, by exiftool: the Perl program, without
 * the package that wraps it. It is handed an open file and never a name, so that no name can mean something to it.
 */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Source } from './preview-source.ts';
import type { Preview } from './previews.ts';

export interface Media {
  facts: Preview['facts'];
  /** Tag of the embedded picture that fits best; undefined: there is none. */
  embedded: string | undefined;
  /** Degrees by which that picture is to be turned. */
  turn: number;
  /** Why nothing is known; a sentence, or ''. */
  trouble: string;
}

export async function mediaFacts(source: Source): Promise<Media> {
  try {
    const wanted = [...NAMES.flatMap(([, tags]) => tags), ...EMBEDDED].map((tag) => `-${tag}`);
    const said = await exiftool(source, ['-j', '-fast', ...wanted, '-Orientation#']);
    const [found = {}] = JSON.parse(said.toString('utf8')) as Record<string, unknown>[];
    return { ...mediaOf(found), trouble: '' };
  } catch (error) {
    return { facts: [], embedded: undefined, turn: 0, trouble: `no preview: ${(error as Error).message}` };
  }
}

/** @param tag of `mediaFacts`. */
export function embeddedPicture(source: Source, tag: string): Promise<Buffer> {
  return exiftool(source, ['-b', '-fast', `-${tag}`]);
}

/** What `exiftool -j` printed of a file, as it is shown. Pure. */
export function mediaOf(found: Readonly<Record<string, unknown>>): Omit<Media, 'trouble'> {
  const facts = NAMES.flatMap(([name, tags]) => {
    const values = tags.map((tag) => textOf(found[tag])).filter(Boolean);
    const value = name === 'Camera' ? joined(values) : values[0]?.replace(DATE, '$1-$2-$3');
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  const sizes = EMBEDDED.map((tag) => ({ tag, size: bytesIn(found[tag]) })).filter(({ size }) => size > 0);
  sizes.sort((a, b) => a.size - b.size);
  const best = sizes.find(({ size }) => size >= ENOUGH) ?? sizes.at(-1);
  return { facts, embedded: best?.tag, turn: TURNS[Number(found['Orientation'])] ?? 0 };
}

// --- internal ---

/** As they are shown, and the tags that may say it: the first that is there. */
const NAMES: readonly (readonly [name: string, tags: readonly string[]])[] = [
  ['Size', ['ImageSize']],
  ['Type', ['FileType']],
  ['Length', ['Duration']],
  ['Codec', ['CompressorName', 'VideoCodec', 'CompressorID', 'VideoCodecID', 'AudioFormat']],
  ['Frames/s', ['VideoFrameRate']],
  ['Camera', ['Make', 'Model']],
  ['Lens', ['LensID', 'LensModel']],
  ['Taken', ['DateTimeOriginal', 'MediaCreateDate', 'CreateDate']],
  ['Exposure', ['ExposureTime']],
  ['Aperture', ['FNumber']],
  ['ISO', ['ISO']],
];

const EMBEDDED = ['PreviewImage', 'JpgFromRaw', 'JpgFromRaw2', 'OtherImage', 'PhotoshopThumbnail', 'ThumbnailImage'];

/** Bytes from which on an embedded picture is large enough for a terminal. */
const ENOUGH = 20_000;
const TURNS: Readonly<Record<number, number>> = { 3: 180, 6: 90, 8: 270 };
/** As cameras write it. */
const DATE = /^(\d{4}):(\d\d):(\d\d)(?= |$)/;
const LONGEST = 200;
/** Bytes of what it prints. */
const MOST = 64e6;

function textOf(value: unknown): string {
  const none = value === undefined || value === null || typeof value === 'object' || value === 'n/a';
  return none ? '' : String(value).slice(0, LONGEST);
}

/** `Canon`, `Canon EOS R5` → `Canon EOS R5`. */
function joined(values: readonly string[]): string {
  const [make = '', model = ''] = values;
  return model.toLowerCase().startsWith(make.toLowerCase()) ? model : `${make} ${model}`.trim();
}

function bytesIn(value: unknown): number {
  return Number(/^\(Binary data (\d+) bytes/.exec(textOf(value))?.[1] ?? 0);
}

/** Path of the Perl program. `TANDEM_NO_EXIFTOOL=1` turns it off. */
function program(): string {
  const missing = new Error('metadata need the package exiftool-vendored.pl: npm install exiftool-vendored.pl');
  if (process.env['TANDEM_NO_EXIFTOOL']) throw missing;
  try {
    return createRequire(import.meta.url)('exiftool-vendored.pl') as string;
  } catch {
    throw missing;
  }
}

async function exiftool(source: Source, words: readonly string[]): Promise<Buffer> {
  const path = program();
  const fd = source.open();
  const content = fd === null ? await source.whole() : undefined;
  try {
    return await new Promise((done, fail) => {
      // The empty configuration stands first: else it would run one that lies in the user's home.
      const child = spawn('perl', [path, '-config', '', ...words, '-'], { stdio: [fd ?? 'pipe', 'pipe', 'ignore'] });
      const pieces: Buffer[] = [];
      let size = 0;
      child.stdout?.on('data', (piece: Buffer) => {
        size += piece.length;
        if (size <= MOST) pieces.push(piece);
        else child.kill('SIGKILL');
      });
      child.once('error', () => fail(new Error('metadata need perl: install it to see them')));
      child.once('close', (code) => {
        if (code === 0 && size > 0) done(Buffer.concat(pieces));
        else fail(new Error('its metadata cannot be read'));
      });
      // It may know enough before it has read all of that.
      child.stdin?.on('error', () => {});
      child.stdin?.end(content);
    });
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

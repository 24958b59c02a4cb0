/**
 * Single files compressed and opened again, for scripts: the containers of stored files (compressed.ts) on plain paths.
 * What is written takes its name only when it is whole and on the medium.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { availableCompression, type Compression, Compressor, Decompressor, readMark } from './compressed.ts';

/** Bytes that went in and came out. */
export interface CompressResult {
  input: string;
  output: string;
  /** What was used: gzip where LZ4 was asked for and is not available. */
  kind: Compression;
  bytes_in: number;
  bytes_out: number;
}

/**
 * Reference: `compress_file`. An existing output is replaced.
 * @param level gzip: 1 to 9; lz4: 1 to 12.
 * @throws TandemError `invalid` for another level, `failed` for a file that changes meanwhile; system errors as they are.
 */
export function compressFile(input: string, output: string, wanted: Compression, level: number): CompressResult {
  const { kind, level: used } = availableCompression(wanted, level);
  return converted(input, output, kind, (source, write) => {
    const { size, mtimeNs } = fstatSync(source, { bigint: true });
    const compressor = new Compressor(kind, used, { size: Number(size), mtime: mtimeNs }, basename(input));
    for (const piece of piecesOf(source)) write(compressor.update(piece));
    write(compressor.final());
    return Number(mtimeNs) / 1e9;
  });
}

/**
 * Reference: `decompress_file`. An existing output is replaced; its time is that of the content.
 * @throws TandemError `invalid` for a file that is no compressed one of tandem's, `failed` for one that is damaged.
 */
export function decompressFile(input: string, output: string): CompressResult {
  const kind = kindOf(input);
  return converted(input, output, kind, (source, write) => {
    const decompressor = new Decompressor(kind);
    for (const piece of piecesOf(source)) write(decompressor.update(piece));
    write(decompressor.final());
    return Number(decompressor.mark?.mtime) / 1e9;
  });
}

// --- internal ---

const PIECE = 1024 * 1024;

/** @param work returns the time that the output gets, in seconds. */
function converted(
  input: string,
  output: string,
  kind: Compression,
  work: (source: number, write: (pieces: readonly Uint8Array[]) => void) => number,
): CompressResult {
  const source = openSync(input, 'r');
  const partial = join(dirname(resolve(output)), `.${basename(output)}.${randomBytes(6).toString('hex')}.partial`);
  let target: number | undefined;
  try {
    target = openSync(partial, 'wx', 0o600);
    const fd = target;
    const mtime = work(source, (pieces) => {
      for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    });
    futimesSync(fd, mtime, mtime);
    fsyncSync(fd);
    const result = { input, output, kind, bytes_in: fstatSync(source).size, bytes_out: fstatSync(fd).size };
    renameSync(partial, output);
    return result;
  } finally {
    closeSync(source);
    if (target !== undefined) closeSync(target);
    rmSync(partial, { force: true });
  }
}

/** A piece holds until the next one is asked for. */
function* piecesOf(fd: number): Generator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(PIECE);
  for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) yield buffer.subarray(0, read);
}

/** By content; what is neither is refused as gzip. */
function kindOf(path: string): Compression {
  const head = Buffer.alloc(64);
  const fd = openSync(path, 'r');
  try {
    return readMark('lz4', head.subarray(0, readSync(fd, head))) === null ? 'gzip' : 'lz4';
  } finally {
    closeSync(fd);
  }
}

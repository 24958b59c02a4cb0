/**
 * A file of a drive as something that decoders may read: opened below the drive's root without following a link, a plain
 * file and nothing else, in one piece only up to a size, and without its compression.
 */
import { closeSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { decoderFor } from '../shared/codec.ts';
import { errnoOf } from '../shared/errors.ts';
import { FolderCache } from '../shared/folders.ts';
import { formatBytes } from '../shared/format.ts';
import { baseName, parentOf } from '../shared/paths.ts';
import { closeFolder, OPEN_READ, openAt, openRoot, statOpen } from '../shared/syscalls.ts';
import type { PreviewFile } from './previews.ts';

export interface Source {
  /** At most so many bytes of its beginning. */
  head(bytes: number): Promise<Buffer>;
  /** All of it. @throws Error when it is too large for that. */
  whole(): Promise<Buffer>;
  /**
   * A descriptor at its beginning, for a program's stdin, so that no program is given a name; null: it is compressed, and
   * only `whole` has its content. The caller closes it.
   */
  open(): number | null;
}

/** @throws Error with one sentence for what is no plain file, or cannot be opened. */
export function openSource(file: PreviewFile): Source {
  const { stored } = file;
  // Whatever is wrong with it is told before anything else is begun.
  closeSync(openPlain(file));
  const content = async (limit: number, partly: boolean): Promise<Buffer> => {
    const fd = openPlain(file);
    try {
      return await contentOf(fd, stored, limit, partly);
    } finally {
      closeSync(fd);
    }
  };
  return {
    head: (bytes) => content(bytes, true),
    whole: () => content(LARGEST, false),
    open: () => (stored === '' ? openPlain(file) : null),
  };
}

// --- internal ---

/** What is held in memory at once. */
const LARGEST = 128e6;
const PIECE = 1024 * 1024;
const readPiece = promisify(read);

function openPlain({ mount, path, stored }: PreviewFile): number {
  const root = openRoot(mount);
  const folders = new FolderCache(root);
  try {
    const fd = openAt(folders.open(parentOf(path)), baseName(path) + stored, OPEN_READ);
    if (statOpen(fd).kind === 'f') return fd;
    closeSync(fd);
    throw new Error('it is not a file');
  } catch (error) {
    const code = errnoOf(error);
    // O_NOFOLLOW says ELOOP of a link, and O_DIRECTORY with it ENOTDIR of a link in a folder's place.
    if (code === 'ELOOP' || code === 'ENOTDIR')
      throw new Error('it is a link, or lies behind one; links are not followed');
    if (code === 'ENXIO') throw new Error('it is not a file');
    throw code === undefined ? error : new Error(`it cannot be read (${code})`);
  } finally {
    folders.clear();
    closeFolder(root);
  }
}

async function contentOf(fd: number, stored: PreviewFile['stored'], limit: number, partly: boolean): Promise<Buffer> {
  const { size } = statOpen(fd);
  if (!partly && size > limit) throw tooLarge(limit);
  return stored === '' ? plainContent(fd, Math.min(size, limit)) : unpacked(fd, stored, limit, partly);
}

async function plainContent(fd: number, size: number): Promise<Buffer> {
  const content = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await readPiece(fd, content, filled, Math.min(PIECE, size - filled), null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return content.subarray(0, filled);
}

async function unpacked(fd: number, stored: PreviewFile['stored'], limit: number, partly: boolean): Promise<Buffer> {
  const decoder = decoderFor(stored, null);
  const pieces: Buffer[] = [];
  let size = 0;
  for (const buffer = Buffer.alloc(PIECE); size < limit; ) {
    const { bytesRead } = await readPiece(fd, buffer, 0, PIECE, null);
    const out = bytesRead > 0 ? decoder.update(buffer.subarray(0, bytesRead)) : decoder.final();
    for (const piece of out) {
      // It holds until the decoder is called again only.
      pieces.push(Buffer.from(piece));
      size += piece.length;
    }
    if (bytesRead === 0) break;
  }
  if (size > limit && !partly) throw tooLarge(limit);
  return Buffer.concat(pieces).subarray(0, limit);
}

function tooLarge(limit: number): Error {
  return new Error(`it is too large for one (more than ${formatBytes(limit)})`);
}

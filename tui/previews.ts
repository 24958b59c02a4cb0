/**
 * What is shown of a file that waits for a decision: a small picture, the beginning of a text, or what its metadata say.
 * Plain data, since it travels from the process that decodes (preview-worker.ts) over the reader to the dashboard; and
 * which kind of file a name stands for. Pure.
 */
import type { Suffix } from '../shared/stored.ts';

/** The most that a picture is decoded to: enough for half of a wide terminal. */
export const LARGEST_PICTURE = { width: 128, height: 96 };

/** Milliseconds for one preview. */
export const PREVIEW_LIMIT = 10_000;

export interface Preview {
  /** Names and values as people read them; from outside, so cleaned only where they are drawn. */
  facts: readonly (readonly [name: string, value: string])[];
  /** `rgb`: three bytes for each of width × height, as base64. */
  picture?: { width: number; height: number; rgb: string };
  text?: {
    lines: readonly string[];
    /** There is more of it. */
    cut: boolean;
  };
  /** Why there is no more to see; a sentence, or ''. */
  note: string;
}

/** A file on a drive, as it is to be decoded. */
export interface PreviewFile {
  /** Where the drive is mounted. */
  mount: string;
  /** From the drive's root, as it is recorded. */
  path: string;
  /** What its name on the drive has behind that. */
  stored: Suffix;
  /** Bytes, and milliseconds since 1970: another version is another file. */
  size: number;
  mtime: number;
}

export type PreviewKind = 'picture' | 'raw' | 'film' | 'other';

/** By the ending of the name alone; what the content is decides when it is decoded. */
export function previewKind(path: string): PreviewKind {
  const ending = /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  return KINDS.get(ending) ?? 'other';
}

export function previewKey({ mount, path, stored, size, mtime }: PreviewFile): string {
  return JSON.stringify([mount, path, stored, size, mtime]);
}

export function noPreview(note: string): Preview {
  return { facts: [], note };
}

// --- internal ---

/** Nothing here decodes HEIC and PSD: they are among those whose embedded picture is shown. */
const KINDS = new Map(
  Object.entries({
    picture: 'jpg jpeg jpe png webp gif tif tiff avif',
    raw: 'cr2 cr3 crw nef nrw arw srf sr2 dng raf orf rw2 pef srw 3fr fff iiq mrw x3f rwl raw heic heif hif psd psb',
    film: 'mov mp4 m4v mxf avi mts m2ts r3d braw crm mkv insv 360 lrv webm mp3 wav m4a aac flac aif aiff',
  }).flatMap(([kind, endings]) => endings.split(' ').map((ending) => [ending, kind as PreviewKind] as const)),
);

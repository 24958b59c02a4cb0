/**
 * Which files of a folder belong to one shot or take: RAW, JPEG, sidecar, voice memo, proxy and thumbnail share a stem.
 * `IMG_1.CR3`, `IMG_1.JPG`, `img_1.xmp`, `IMG_1.CR3.xmp` and `IMG_1.WAV` are one set. Pure: looks at names only.
 */
import { baseName, joinPath, parentOf } from './paths.ts';

/** Extensions of files that stand for a shot or take by themselves. */
const PICTURES =
  'cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 dng pef srw 3fr fff iiq x3f raw rwl jpg jpeg heic heif hif tif tiff png'.split(
    ' ',
  );
const CLIPS = 'mov mp4 m4v mxf avi mts m2ts r3d braw crm ari mkv insv 360'.split(' ');
/** Extensions of files that accompany one. */
const COMPANIONS =
  'xmp wav mp3 aac m4a thm lrv lrf srt xml pp3 dop cos on1 vrd nksc aae sidecar bim cpf rmd cube'.split(' ');
const KNOWN = new Set([...PICTURES, ...CLIPS, ...COMPANIONS]);
const MAIN = new Set([...PICTURES, ...CLIPS]);

/** What cameras append to the stem of a companion: Sony `C0001M01.XML`, proxies `C0001S03.MP4`, `clip_proxy.mov`. */
const APPENDED = /(?:m\d\d|s\d\d|t\d\d)$|[_-](?:proxy|lowres|thumb)$/;
/** GoPro's chapters: GX010042.MP4 has the low-resolution GL010042.LRV and the thumbnail GX010042.THM. */
const GOPRO = /^g[hxl](\d{6})$/;

/**
 * The paths of all files that belong together with `path`, itself included, in the order of `names`.
 * @param names of the files in the folder of `path`.
 */
export function setOf(path: string, names: readonly string[]): string[] {
  const own = keysOf(baseName(path));
  const mine = own && setKey(own, names);
  const folder = parentOf(path);
  if (mine === undefined) return [path];
  return names
    .filter((name) => {
      const keys = keysOf(name);
      return keys !== undefined && setKey(keys, names) === mine;
    })
    .map((name) => joinPath(folder, name));
}

/** The chosen paths, each followed by those of `all` that belong together with it. */
export function withTheirSets(chosen: Iterable<string>, all: Iterable<string>): Set<string> {
  const folders = new Map<string, string[]>();
  for (const path of all) {
    const names = folders.get(parentOf(path));
    if (names) names.push(baseName(path));
    else folders.set(parentOf(path), [baseName(path)]);
  }
  const wide = new Set<string>();
  for (const path of chosen) {
    wide.add(path);
    for (const one of setOf(path, folders.get(parentOf(path)) ?? [])) wide.add(one);
  }
  return wide;
}

/** Whether two paths beside each other are plainly of one set: a cut between them would part it. */
export function areOneSet(a: string, b: string): boolean {
  if (parentOf(a) !== parentOf(b)) return false;
  const [left, right] = [keysOf(baseName(a)), keysOf(baseName(b))];
  return left !== undefined && right !== undefined && left.stem === right.stem;
}

// --- internal ---

interface Keys {
  stem: string;
  /** The stem without what a camera appends to it; the file belongs there if a picture or clip has that stem. */
  shorter: string | undefined;
}

function keysOf(name: string): Keys | undefined {
  const parts = name.normalize('NFC').toLowerCase().split('.');
  if (parts.length < 2 || !KNOWN.has(parts.at(-1) ?? '')) return undefined;
  parts.pop();
  // IMG_1.CR3.xmp
  if (parts.length > 1 && MAIN.has(parts.at(-1) ?? '')) parts.pop();
  const stem = parts.join('.');
  if (stem === '') return undefined;
  const chapter = GOPRO.exec(stem)?.[1];
  if (chapter !== undefined) return { stem: `gopro ${chapter}`, shorter: undefined };
  const shorter = stem.replace(APPENDED, '');
  return { stem, shorter: shorter === stem || shorter === '' ? undefined : shorter };
}

function setKey({ stem, shorter }: Keys, names: readonly string[]): string {
  if (shorter === undefined) return stem;
  const main = names.some((name) => {
    const dot = name.lastIndexOf('.');
    const isMain = MAIN.has(name.slice(dot + 1).toLowerCase());
    return isMain && name.slice(0, dot).normalize('NFC').toLowerCase() === shorter;
  });
  return main ? shorter : stem;
}

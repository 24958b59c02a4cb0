/**
 * Documents of ASC MHL 2.0: a hash list (one generation of a history) and the chain that names all generations with their
 * C4. Pure: text in, values out. What a document says is not trusted: each path is checked before anyone uses it.
 *
 * A list with the hash of the folder itself is complete: what it does not list is not expected. Any other adds to what
 * came before. What was removed on purpose stands in `metadata`, which other programs pass over.
 */
import { type Digest, digestBytes, digestOf, type Hashers } from './digests.ts';
import { baseName, parentOf, relPath } from './paths.ts';
import { parseXml, type XmlElement, xmlText } from './xml.ts';

/** In the order in which a document has them. */
export const MHL_FORMATS = ['c4', 'md5', 'sha1', 'xxh128', 'xxh3', 'xxh64'] as const satisfies readonly Digest[];
export type MhlFormat = (typeof MHL_FORMATS)[number];

const ACTIONS = ['original', 'verified', 'failed'] as const;
export type MhlAction = (typeof ACTIONS)[number];

export interface MhlFile {
  /** Relative to the folder that holds `ascmhl/`. */
  path: string;
  size: number | null;
  /** Milliseconds since 1970. */
  mtime: number;
  hashes: { format: MhlFormat; value: string; action: MhlAction | null }[];
  /** Where it was before it was renamed. */
  previousPath?: string;
  /** The hashes were taken at another time than that of the list, which is not known any more. */
  undated?: true;
  /** It counts for the hashes of folders, but another history lists it. */
  elsewhere?: true;
}

/** A generation of a history further down: its path from the folder of the list. */
export interface MhlReference {
  path: string;
  c4: string;
}

/** What a hash list says. */
export interface HashList {
  files: MhlFile[];
  /** It lists everything in the folder. */
  complete: boolean;
  references: MhlReference[];
  /** Paths that were removed on purpose; what stood below them as well. */
  removed: string[];
}

export interface MhlHeader {
  /** Milliseconds since 1970. */
  created: number;
  hostname: string;
  tool: string;
  version: string;
  /** Patterns of what was left out, in gitignore syntax. */
  ignore: readonly string[];
  process: 'in-place' | 'transfer';
}

export interface ChainEntry {
  sequence: number;
  /** A plain file name in `ascmhl/`. */
  name: string;
  c4: string;
}

/** What no document can name. */
export function canBeListed(path: string): boolean {
  return xmlText(path) !== undefined;
}

/**
 * One generation. A complete list has hashes of folders, in the formats that every file has; below the folder of another
 * history none are given, since that history has them.
 */
export function hashListText(header: MhlHeader, list: HashList, hashers: Hashers): string {
  const { files, complete, references, removed } = list;
  const date = isoDate(header.created);
  const tree = folderOf(files);
  const formats = complete
    ? MHL_FORMATS.filter((format) => files.every((file) => hashOf(file, format) !== undefined))
    : [];
  const hashes: string[] = [];
  const others = new Set(references.map(({ path }) => parentOf(parentOf(path))));
  const root = writeFolder(tree, '', { formats, hashers, date, others }, hashes);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<hashlist version="2.0" xmlns="urn:ASC:MHL:v2.0">',
    '  <creatorinfo>',
    `    <creationdate>${date}</creationdate>`,
    `    <hostname>${xmlText(header.hostname) ?? ''}</hostname>`,
    `    <tool version="${xmlText(header.version) ?? ''}">${xmlText(header.tool) ?? ''}</tool>`,
    '  </creatorinfo>',
    '  <processinfo>',
    `    <process>${header.process}</process>`,
    ...(formats.length > 0 ? ['    <roothash>', ...folderHashes(root, date, '      '), '    </roothash>'] : []),
    '    <ignore>',
    ...header.ignore.map((pattern) => `      <pattern>${xmlText(pattern) ?? ''}</pattern>`),
    '    </ignore>',
    '  </processinfo>',
    // An empty list of hashes is no valid document.
    ...(hashes.length > 0 ? ['  <hashes>', ...hashes, '  </hashes>'] : []),
    ...(removed.length > 0 ? ['  <metadata>', ...removedLines(removed), '  </metadata>'] : []),
    ...(references.length > 0 ? ['  <references>', ...references.flatMap(referenceLines), '  </references>'] : []),
    '</hashlist>',
    '',
  ].join('\n');
}

/** @throws Error for what is no hash list of this version, and for a path that leads out of the folder. */
export function parseHashList(text: string): HashList {
  const root = parseXml(text);
  if (root.name !== 'hashlist' || root.attributes.get('xmlns') !== 'urn:ASC:MHL:v2.0')
    throw new Error(`it is no ASC MHL 2.0 hash list (its outermost element is <${root.name}>)`);
  if (root.attributes.get('version') !== '2.0') throw new Error('it is of another version than 2.0');
  const files: MhlFile[] = [];
  const seen = new Set<string>();
  for (const element of childOf(root, 'hashes')?.children ?? []) {
    if (element.name === 'directoryhash') continue;
    if (element.name !== 'hash') throw new Error(`<${element.name}> stands among the hashes`);
    const file = parseFile(element);
    if (seen.has(file.path)) throw new Error(`the path ${JSON.stringify(file.path)} stands twice`);
    seen.add(file.path);
    files.push(file);
  }
  const info = childOf(root, 'processinfo');
  return {
    files,
    complete: info !== undefined && childOf(info, 'roothash') !== undefined,
    references: (childOf(root, 'references')?.children ?? []).map(parseReference),
    removed: (childOf(root, 'metadata')?.children ?? [])
      .filter(({ name, attributes }) => name === 'removed' && attributes.get('xmlns') === REMOVED)
      .flatMap(({ children }) => children.map(pathOf)),
  };
}

/** @throws Error for what is no chain, and for names that are no plain file names or out of order. */
export function parseChain(text: string): ChainEntry[] {
  const root = parseXml(text);
  if (root.name !== 'ascmhldirectory' || root.attributes.get('xmlns') !== 'urn:ASC:MHL:DIRECTORY:v2.0')
    throw new Error(`it is no ASC MHL 2.0 chain (its outermost element is <${root.name}>)`);
  let last = 0;
  return root.children.map((element) => {
    const name = childOf(element, 'path')?.text.trim() ?? '';
    const c4 = childOf(element, 'c4')?.text.trim() ?? '';
    const sequence = Number(element.attributes.get('sequencenr'));
    if (element.name !== 'hashlist' || !/^[^/\\\0]+\.mhl$/.test(name) || digestBytes(c4, 'c4') === undefined)
      throw new Error(`the entry ${JSON.stringify(name)} is no hash list with a C4`);
    if (!Number.isSafeInteger(sequence) || sequence <= last) throw new Error(`the number ${sequence} is out of order`);
    last = sequence;
    return { sequence, name, c4 };
  });
}

/** The chain with one more entry; what stands in it already stays as it is, to the byte. */
export function extendChain(chain: string | null, { sequence, name, c4 }: ChainEntry): string {
  const entry = `  <hashlist sequencenr="${sequence}">\n    <path>${xmlText(name) ?? ''}</path>\n    <c4>${c4}</c4>\n  </hashlist>\n`;
  const empty =
    '<?xml version="1.0" encoding="UTF-8"?>\n<ascmhldirectory xmlns="urn:ASC:MHL:DIRECTORY:v2.0">\n</ascmhldirectory>\n';
  const text = chain ?? empty;
  const end = text.lastIndexOf('</ascmhldirectory');
  if (end < 0) throw new Error('the chain has no end tag to write before');
  return text.slice(0, end) + entry + text.slice(end);
}

// --- internal ---

function childOf(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name);
}

/** Names what is ours in a document. */
const REMOVED = 'urn:tandem:mhl:removed';

/** Inside the folder of the list, and not the folder itself. */
function pathOf(element: XmlElement | undefined): string {
  const path = relPath(element?.text ?? '');
  if (path === '' || path.startsWith('/')) throw new Error('a hash has no path');
  return path;
}

function parseReference(element: XmlElement): MhlReference {
  const path = pathOf(childOf(element, 'path'));
  const c4 = childOf(element, 'c4')?.text.trim() ?? '';
  if (!/[^/]\/ascmhl\/[^/]+\.mhl$/.test(path) || digestBytes(c4, 'c4') === undefined)
    throw new Error(`the reference ${JSON.stringify(path)} is no hash list with a C4`);
  return { path, c4 };
}

function removedLines(removed: readonly string[]): string[] {
  const paths = removed.map((path) => `      <path>${xmlText(path) ?? ''}</path>`);
  return [`    <removed xmlns="${REMOVED}">`, ...paths, '    </removed>'];
}

function referenceLines({ path, c4 }: MhlReference): string[] {
  return [
    '    <hashlistreference>',
    `      <path>${xmlText(path) ?? ''}</path>`,
    `      <c4>${c4}</c4>`,
    '    </hashlistreference>',
  ];
}

function parseFile(element: XmlElement): MhlFile {
  const named = childOf(element, 'path');
  const path = pathOf(named);
  const before = childOf(element, 'previousPath');
  const size = named?.attributes.get('size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw new Error(`the size ${JSON.stringify(size)} is no number`);
  const hashes = element.children.flatMap(({ name, text, attributes }) => {
    const format = MHL_FORMATS.find((one) => one === name);
    if (!format) return [];
    const value = format === 'c4' ? text.trim() : text.trim().toLowerCase();
    if (digestBytes(value, format) === undefined) throw new Error(`${JSON.stringify(value)} is no ${format}`);
    const action = attributes.get('action');
    return [{ format, value, action: ACTIONS.find((one) => one === action) ?? null }];
  });
  const mtime = Date.parse(named?.attributes.get('lastmodificationdate') ?? '');
  const file = { path, size: size === undefined ? null : Number(size), mtime, hashes };
  return before ? { ...file, previousPath: pathOf(before) } : file;
}

/** ISO 8601 with an offset, as the schema's dateTime and other tools have it. */
function isoDate(milliseconds: number): string {
  const known = Number.isFinite(milliseconds) ? milliseconds : 0;
  return `${new Date(Math.min(Math.max(known, YEAR_0), YEAR_9999)).toISOString().slice(0, 19)}+00:00`;
}

/** What dates in a document can say. */
const YEAR_0 = -62_167_219_200_000;
const YEAR_9999 = 253_402_300_799_000;

interface Folder {
  folders: Map<string, Folder>;
  files: Map<string, MhlFile>;
}

function folderOf(files: readonly MhlFile[]): Folder {
  const root: Folder = { folders: new Map(), files: new Map() };
  const known = new Map<string, Folder>([['', root]]);
  const at = (path: string): Folder => {
    const found = known.get(path);
    if (found) return found;
    const made: Folder = { folders: new Map(), files: new Map() };
    at(parentOf(path)).folders.set(baseName(path), made);
    known.set(path, made);
    return made;
  };
  for (const file of files) at(parentOf(file.path)).files.set(baseName(file.path), file);
  return root;
}

function hashOf(file: MhlFile, format: MhlFormat): string | undefined {
  return file.hashes.find((hash) => hash.format === format)?.value;
}

interface FolderHash {
  format: MhlFormat;
  content: string;
  structure: string;
}

interface ListStyle {
  formats: readonly MhlFormat[];
  hashers: Hashers;
  date: string;
  /** Folders with a history of their own. */
  others: ReadonlySet<string>;
}

/** Writes what is in a folder, children before the folder's own hash; returns that. */
function writeFolder(folder: Folder, path: string, style: ListStyle, out: string[], inside = false): FolderHash[] {
  const { formats, hashers, date, others } = style;
  const own = inside || others.has(path);
  const below = new Map<string, FolderHash[]>();
  for (const name of [...folder.folders.keys(), ...folder.files.keys()].sort()) {
    const child = folder.folders.get(name);
    const file = folder.files.get(name);
    const full = path === '' ? name : `${path}/${name}`;
    if (child) {
      const hashes = writeFolder(child, full, style, out, own);
      below.set(name, hashes);
      if (formats.length > 0 && !own)
        out.push(
          '    <directoryhash>',
          `      <path>${xmlText(full) ?? ''}</path>`,
          ...folderHashes(hashes, date, '      '),
          '    </directoryhash>',
        );
    }
    if (file && !file.elsewhere) out.push(...fileLines(file, date));
  }
  return formats.map((format) => {
    const contents: string[] = [];
    const structures: string[] = [];
    const add = (name: string, content: string, structure: string): void => {
      contents.push(content);
      const bytes = digestBytes(structure, format) as Buffer;
      structures.push(digestOf(Buffer.concat([Buffer.from(name), bytes]), format, hashers));
    };
    for (const [name, file] of folder.files) {
      const value = hashOf(file, format) as string;
      add(name, value, value);
    }
    for (const [name, hashes] of below) {
      const { content, structure } = hashes.find((hash) => hash.format === format) as FolderHash;
      add(name, content, structure);
    }
    return {
      format,
      content: hashOfHashes(contents, format, hashers),
      structure: hashOfHashes(structures, format, hashers),
    };
  });
}

/** Over the bytes of all hashes, in the order of their texts. */
function hashOfHashes(hashes: string[], format: MhlFormat, hashers: Hashers): string {
  const bytes = hashes.sort().map((hash) => digestBytes(hash, format) as Buffer);
  return digestOf(Buffer.concat(bytes), format, hashers);
}

function folderHashes(hashes: readonly FolderHash[], date: string, indent: string): string[] {
  return (['content', 'structure'] as const).flatMap((part) => [
    `${indent}<${part}>`,
    ...hashes.map((hash) => `${indent}  <${hash.format} hashdate="${date}">${hash[part]}</${hash.format}>`),
    `${indent}</${part}>`,
  ]);
}

function fileLines({ path, size, mtime, hashes, previousPath, undated }: MhlFile, date: string): string[] {
  const when = undated ? '' : ` hashdate="${date}"`;
  const sorted = MHL_FORMATS.flatMap((format) => hashes.filter((hash) => hash.format === format));
  return [
    '    <hash>',
    `      <path size="${size ?? 0}" lastmodificationdate="${isoDate(mtime)}">${xmlText(path) ?? ''}</path>`,
    ...sorted.map(({ format, value, action }) => {
      return `      <${format}${action === null ? '' : ` action="${action}"`}${when}>${value}</${format}>`;
    }),
    ...(previousPath === undefined ? [] : [`      <previousPath>${xmlText(previousPath) ?? ''}</previousPath>`]),
    '    </hash>',
  ];
}

/**
 * As much XML as ASC MHL needs: text made safe for a document, and a strict reader of elements, attributes and text.
 * Document types and processing instructions are refused, so nothing in a foreign file can expand or lead elsewhere.
 */

export interface XmlElement {
  name: string;
  attributes: ReadonlyMap<string, string>;
  children: XmlElement[];
  /** Of this element itself, without that of its children. */
  text: string;
}

/** Undefined when the text holds a character that no XML document can hold. */
export function xmlText(text: string): string | undefined {
  if (FORBIDDEN.test(text)) return undefined;
  return text.replace(/[&<>"\t\n\r]/g, (char) => NAMED.get(char) ?? `&#${char.charCodeAt(0)};`);
}

/** @throws Error with the position of what is not well-formed, or not taken. */
export function parseXml(source: string): XmlElement {
  const text = source.replace(/^\ufeff/, '');
  const top: XmlElement = { name: '', attributes: new Map(), children: [], text: '' };
  const open: XmlElement[] = [top];
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    const match = TOKEN.exec(text);
    if (!match) throw new Error(`not well-formed at character ${at}`);
    const current = open.at(-1) as XmlElement;
    const [, chars, , declaration, end, name, attributes, empty] = match;
    if (chars !== undefined) {
      if (current === top && chars.trim() !== '') throw new Error(`text outside of any element at character ${at}`);
      current.text += decoded(chars, at);
    } else if (declaration !== undefined) {
      if (at !== 0) throw new Error(`a second XML declaration at character ${at}`);
      const encoding = /encoding\s*=\s*["']([^"']*)["']/.exec(declaration)?.[1] ?? 'UTF-8';
      if (encoding.toUpperCase() !== 'UTF-8') throw new Error('the document is not in UTF-8');
    } else if (end !== undefined) {
      if (open.length === 1 || current.name !== end) throw new Error(`</${end}> closes nothing at character ${at}`);
      open.pop();
    } else if (name !== undefined) {
      if (open.length > MAX_DEPTH) throw new Error('the elements are nested too deeply');
      const element = { name, attributes: attributesOf(attributes ?? '', at), children: [], text: '' };
      current.children.push(element);
      if (empty === undefined || empty === '') open.push(element);
    }
  }
  if (open.length > 1) throw new Error(`<${open.at(-1)?.name}> is not closed`);
  const [root, second] = top.children;
  if (!root || second) throw new Error('there is not exactly one outermost element');
  return root;
}

// --- internal ---

const MAX_DEPTH = 32;

// biome-ignore lint/suspicious/noControlCharactersInRegex: exactly what XML 1.0 leaves out
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u;

const NAMED = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
]);

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** text · comment · declaration · end tag · start tag with attributes. */
const TOKEN =
  /([^<]+)|(<!--(?:(?!--)[\s\S])*-->)|<\?xml\s([^?<>]*)\?>|<\/([\w.:-]+)\s*>|<([\w.:-]+)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;

function attributesOf(text: string, at: number): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, name = '', double, single] of text.matchAll(/([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    if (found.has(name)) throw new Error(`the attribute ${name} stands twice at character ${at}`);
    found.set(name, decoded(double ?? single ?? '', at));
  }
  return found;
}

function decoded(text: string, at: number): string {
  const plain = text.replace(/&(#x[0-9a-f]+|#\d+|\w+);|&/gi, (whole, name: string | undefined) => {
    if (name === undefined) throw new Error(`a lone & near character ${at}`);
    if (!name.startsWith('#')) return ENTITIES[name] ?? unknownEntity(whole, at);
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code <= 0x10ffff ? String.fromCodePoint(code) : unknownEntity(whole, at);
  });
  if (FORBIDDEN.test(plain)) throw new Error(`a character that XML does not allow near character ${at}`);
  return plain;
}

function unknownEntity(entity: string, at: number): never {
  throw new Error(`${entity} is not known near character ${at}`);
}

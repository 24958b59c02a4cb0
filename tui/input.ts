/**
 * Bytes of a terminal → keys, pastes and mouse events. Sequences that the network tore apart are put together again,
 * pasted text never presses a key, and Enter is one key however it arrives. Pure but for the timer it is given.
 *
 * Names of keys: the character itself (`a`, `G`, `/`, `é`), `space`, `enter`, `tab`, `esc`, `backspace`, `delete`, `insert`,
 * `up` `down` `left` `right`, `home` `end` `pgup` `pgdn`, `f1`…`f12`; with `C-`, `M-`, `S-` before it (`C-d`, `S-tab`).
 */
export type InputEvent =
  /** `text`: what the key writes; '' when it writes nothing. */
  | { kind: 'key'; name: string; text: string }
  | { kind: 'paste'; text: string }
  /** Cells counted from 0. */
  | { kind: 'mouse'; action: 'click' | 'wheelup' | 'wheeldown'; x: number; y: number };

export interface InputOptions {
  emit(event: InputEvent): void;
  /** Milliseconds after which a lone ESC is the Escape key; longer where a network may tear sequences apart. */
  escapeDelay: number;
  /** For tests. */
  setTimer?: (work: () => void, milliseconds: number) => () => void;
}

/** Longer pastes are cut: nothing here takes a novel. */
const PASTE_LIMIT = 64 * 1024;
const PASTE_DELAY = 1000;

export class Input {
  private readonly options: InputOptions;
  private readonly setTimer: NonNullable<InputOptions['setTimer']>;
  private waiting = '';
  private pasted: string | undefined;
  private stopTimer = (): void => {};

  constructor(options: InputOptions) {
    this.options = options;
    this.setTimer = options.setTimer ?? realTimer;
  }

  feed(text: string): void {
    this.stopTimer();
    this.waiting += text;
    while (this.waiting !== '') {
      const taken = this.pasted === undefined ? this.takeOne(this.waiting) : this.takePaste(this.waiting);
      if (taken === 0) break;
      this.waiting = this.waiting.slice(taken);
    }
    if (this.waiting === '' && this.pasted === undefined) return;
    const delay = this.pasted === undefined ? this.options.escapeDelay : PASTE_DELAY;
    this.stopTimer = this.setTimer(() => this.giveUp(), delay);
  }

  /** Forgets what is unfinished; no timer runs any more. */
  close(): void {
    this.stopTimer();
    this.waiting = '';
    this.pasted = undefined;
  }

  /** What did not become whole in time. */
  private giveUp(): void {
    const rest = this.waiting;
    this.waiting = '';
    if (this.pasted !== undefined) {
      this.endPaste(rest);
    } else if (rest === ESC) {
      this.key('esc');
    } else if (rest === `${ESC}[` || rest === `${ESC}O`) {
      this.key(`M-${rest.slice(1)}`);
    }
  }

  /** Length of the first event in `text`, 0 when it is not whole yet. */
  private takeOne(text: string): number {
    if (!text.startsWith(ESC)) return this.takePlain(text);
    if (text.length === 1) return 0;
    if (text.startsWith(PASTE_BEGIN)) {
      this.pasted = '';
      return PASTE_BEGIN.length;
    }
    const rest = text.slice(1);
    const sequence = SEQUENCE.exec(rest)?.[0];
    if (sequence !== undefined) {
      this.sequence(sequence);
      return 1 + sequence.length;
    }
    if (UNFINISHED.test(rest)) return 0;
    if (text.startsWith(ESC + ESC)) {
      this.key('esc');
      return 1;
    }
    const [char = ''] = rest;
    // What begins like a sequence and cannot become one is dropped as far as it goes.
    if (char === '[' || char === 'O') return 1 + (/^[[O][\x20-\x3f]*/.exec(rest)?.[0] ?? char).length;
    this.key(`M-${nameOf(char)}`);
    return 1 + char.length;
  }

  private takePlain(text: string): number {
    const [char = ''] = text;
    // Windows and some pastes send both; they are one Enter.
    if (text.startsWith('\r\n')) {
      this.key('enter');
      return 2;
    }
    const name = nameOf(char);
    const writes = name.startsWith('C-') || (NAMED[char] !== undefined && char !== ' ') ? '' : char;
    this.key(name, writes);
    return char.length;
  }

  private takePaste(text: string): number {
    const end = text.indexOf(PASTE_END);
    if (end >= 0) {
      this.endPaste(text.slice(0, end));
      return end + PASTE_END.length;
    }
    // The end of it may be torn apart as well.
    let keep = PASTE_END.length - 1;
    while (!text.endsWith(PASTE_END.slice(0, keep))) keep -= 1;
    this.pasted = ((this.pasted ?? '') + text.slice(0, text.length - keep)).slice(0, PASTE_LIMIT);
    return text.length - keep;
  }

  private endPaste(last: string): void {
    const text = ((this.pasted ?? '') + last).slice(0, PASTE_LIMIT);
    this.pasted = undefined;
    if (text !== '') this.options.emit({ kind: 'paste', text });
  }

  private sequence(sequence: string): void {
    const mouse = /^\[<(\d+);(\d+);(\d+)([Mm])$/.exec(sequence);
    if (mouse) this.mouse(Number(mouse[1]), Number(mouse[2]), Number(mouse[3]), mouse[4] === 'M');
    const parts = /^[O[]([\d;]*)([A-Za-z~])$/.exec(sequence);
    if (!parts) return;
    const [, numbers = '', final = ''] = parts;
    const [first = '', modifier = ''] = numbers.split(';');
    const name = final === '~' ? TILDE[first] : LETTER[final];
    if (name === undefined) return;
    const bits = Number(modifier || '1') - 1;
    const prefix = `${bits & 4 ? 'C-' : ''}${bits & 2 ? 'M-' : ''}${bits & 1 ? 'S-' : ''}`;
    this.key(prefix + name);
  }

  private mouse(button: number, column: number, row: number, pressed: boolean): void {
    const at = { x: column - 1, y: row - 1 };
    if (button === 64 || button === 65)
      this.options.emit({ kind: 'mouse', action: button === 64 ? 'wheelup' : 'wheeldown', ...at });
    else if (button === 0 && pressed) this.options.emit({ kind: 'mouse', action: 'click', ...at });
  }

  private key(name: string, text = ''): void {
    this.options.emit({ kind: 'key', name, text });
  }
}

// --- internal ---

const ESC = '\x1b';
const PASTE_BEGIN = '\x1b[200~';
const PASTE_END = '\x1b[201~';
/** After the ESC. ECMA-48: parameters, intermediates, a final letter; or one letter after SS3. */
const SEQUENCE = /^(?:\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|O[\x40-\x7e])/;
const UNFINISHED = /^(?:\[[\x30-\x3f]{0,40}[\x20-\x2f]{0,4}|O)$/;

const NAMED: Readonly<Record<string, string>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  ' ': 'space',
  '\x7f': 'backspace',
  '\b': 'backspace',
};

const LETTER: Readonly<Record<string, string>> = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  F: 'end',
  H: 'home',
  Z: 'S-tab',
  M: 'enter',
  P: 'f1',
  Q: 'f2',
  R: 'f3',
  S: 'f4',
};

const TILDE: Readonly<Record<string, string>> = Object.fromEntries(
  [
    [1, 'home'],
    [2, 'insert'],
    [3, 'delete'],
    [4, 'end'],
    [5, 'pgup'],
    [6, 'pgdn'],
    [7, 'home'],
    [8, 'end'],
    ...[11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24].map((code, index) => [code, `f${index + 1}`]),
  ].map(([code, name]) => [String(code), String(name)]),
);

function nameOf(char: string): string {
  const named = NAMED[char];
  if (named !== undefined) return named;
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20) return `C-${String.fromCharCode(code + 0x60)}`;
  return char;
}

function realTimer(work: () => void, milliseconds: number): () => void {
  const timer = setTimeout(work, milliseconds);
  return () => clearTimeout(timer);
}

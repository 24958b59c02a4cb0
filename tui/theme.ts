/**
 * How tones look. A screen names what a text *is* (`good`, `border`, `key`); this file says how that looks with 256, 16 or
 * 8 colours, or with none. A state is never told by colour alone: signs and words say the same, so mono loses nothing.
 */
import type { Style } from '../shared/feature.ts';
import type { LookSetting } from '../shared/settings.ts';

/** The styles of the features, and those of the dashboard. */
export type Tone =
  | Style
  | 'bold'
  | 'title'
  | 'border'
  /** Border and title of the panel that has the keys. */
  | 'focus'
  | 'key'
  | 'bar'
  | 'track'
  | 'tab'
  | 'here'
  | 'toast'
  | 'alarm';

export type Colours = 256 | 16 | 8 | 'mono';

export interface Theme {
  colours: Colours;
  /** False: ASCII signs and borders only. */
  unicode: boolean;
  /** The ground is light; else dark, or what the user's own palette makes of it. */
  light?: boolean;
}

/** Colours by their numbers among 256; left out, the terminal's own. */
export interface Ink {
  foreground: number;
  background?: number | undefined;
}

/** Attributes of a cell as blessed keeps them: flags, then foreground and background, 9 bits each. */
export function attributeOf(theme: Theme, tone: Tone, selected: boolean): number {
  const name = `${theme.colours}${theme.light ? ' light' : ''}`;
  const table = CACHE[name] ?? tableOf(theme);
  CACHE[name] = table;
  return (selected ? table.selected : table.plain)[tone];
}

/** The same of a cell with colours of its own. */
export function attributeOfInk({ foreground, background }: Ink): number {
  return code({ fg: foreground, ...(background !== undefined && { bg: background }) });
}

/** From the settings, and where they say `auto` from NO_COLOR, TERM, COLORTERM, COLORFGBG and the locale. */
export function themeFor(
  env: Readonly<Record<string, string | undefined>>,
  { theme, colours, icons }: Pick<LookSetting, 'theme' | 'colours' | 'icons'>,
): Theme {
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '';
  const own = coloursOf(env);
  const without = theme === 'mono' || (own === 'mono' && (env['NO_COLOR'] || colours === 'auto'));
  // Foreground and background, by number: 7 and 15 are white.
  const light = theme === 'auto' ? /;(7|15)$/.test(env['COLORFGBG'] ?? '') : theme === 'light';
  return {
    colours: without ? 'mono' : colours === 'auto' ? own : colours,
    unicode: icons === 'auto' ? /utf-?8/i.test(locale) : icons === 'unicode',
    ...(light && !without ? { light } : {}),
  };
}

// --- internal ---

function coloursOf(env: Readonly<Record<string, string | undefined>>): Colours {
  const term = env['TERM'] ?? '';
  if (env['NO_COLOR'] || term === 'dumb' || /^vt\d/.test(term)) return 'mono';
  if (term === 'linux') return 8;
  if (/256|truecolor|24bit|direct|kitty|alacritty|foot|ghostty|wezterm/.test(`${term} ${env['COLORTERM'] ?? ''}`))
    return 256;
  return 16;
}

interface Look {
  fg?: number;
  bg?: number;
  bold?: boolean;
  inverse?: boolean;
}

type Looks = Record<Tone, Look>;

/** The first eight colours follow the user's own palette, light or dark. */
const BASIC: Looks = {
  plain: {},
  good: { fg: 2 },
  bad: { fg: 1, bold: true },
  warn: { fg: 3 },
  dim: {},
  master: { fg: 4, bold: true },
  backup: { fg: 2, bold: true },
  bold: { bold: true },
  title: { bold: true },
  border: {},
  focus: { fg: 6, bold: true },
  key: { fg: 6, bold: true },
  bar: { fg: 2 },
  track: {},
  tab: {},
  here: { fg: 6, bold: true },
  toast: { fg: 2 },
  alarm: { fg: 1, bold: true },
};

const SIXTEEN: Looks = {
  ...BASIC,
  dim: { fg: 8 },
  border: { fg: 8 },
  track: { fg: 8 },
  master: { fg: 12, bold: true },
};

const MANY: Looks = {
  ...BASIC,
  dim: { fg: 244 },
  border: { fg: 241 },
  track: { fg: 241 },
  tab: { fg: 244 },
  master: { fg: 33, bold: true },
};

/** On white, yellow and light green are not to be read. */
const SIXTEEN_LIGHT: Looks = { ...SIXTEEN, warn: { fg: 5 }, master: { fg: 4, bold: true } };

const MANY_LIGHT: Looks = {
  ...MANY,
  good: { fg: 28 },
  warn: { fg: 130 },
  bad: { fg: 124, bold: true },
  dim: { fg: 241 },
  border: { fg: 246 },
  track: { fg: 250 },
  tab: { fg: 240 },
  master: { fg: 25, bold: true },
  backup: { fg: 28, bold: true },
  focus: { fg: 24, bold: true },
  key: { fg: 24, bold: true },
  here: { fg: 24, bold: true },
  bar: { fg: 28 },
  toast: { fg: 28 },
  alarm: { fg: 124, bold: true },
};

const MONO: Looks = {
  ...(Object.fromEntries(Object.keys(BASIC).map((tone) => [tone, {}])) as Looks),
  bad: { bold: true },
  bold: { bold: true },
  title: { bold: true },
  focus: { bold: true },
  key: { bold: true },
  here: { bold: true, inverse: true },
  alarm: { inverse: true },
};

const CACHE: Record<string, { plain: Record<Tone, number>; selected: Record<Tone, number> }> = {};

function tableOf({ colours, light = false }: Theme): { plain: Record<Tone, number>; selected: Record<Tone, number> } {
  const many = light ? MANY_LIGHT : MANY;
  const looks = { 256: many, 16: light ? SIXTEEN_LIGHT : SIXTEEN, 8: BASIC, mono: MONO }[colours];
  const ground: Look = light ? { fg: 16, bg: 153 } : { fg: 231, bg: 24 };
  const chosen: Look = colours === 256 ? ground : colours === 16 ? { fg: 15, bg: 4 } : { inverse: true, bold: true };
  const codes = (over: Look): Record<Tone, number> =>
    Object.fromEntries(Object.entries(looks).map(([tone, look]) => [tone, code({ ...look, ...over })])) as Record<
      Tone,
      number
    >;
  return { plain: codes({}), selected: codes(chosen) };
}

const DEFAULT = 0x1ff;

function code({ fg = DEFAULT, bg = DEFAULT, bold, inverse }: Look): number {
  const flags = (bold ? 1 : 0) | (inverse ? 8 : 0);
  return (flags << 18) | (fg << 9) | bg;
}

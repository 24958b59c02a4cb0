/**
 * The frame around a screen as cells: tabs in the first line, the screen with whatever lies over it, toasts over its last
 * line, key hints in the last one. Pure.
 */
import { displayWidth } from '../shared/format.ts';
import { Canvas } from './canvas.ts';
import { footerHints } from './keymap.ts';
import { clean, fit } from './sanitize.ts';
import type { AnyScreen } from './screen.ts';
import { type AppState, isSmall, SMALLEST, screenOf, viewOf, type World } from './state.ts';

/** All cells of the terminal. The state comes back as it fits this size. */
export function drawApp(state: AppState, world: World): { canvas: Canvas; state: AppState } {
  const canvas = new Canvas(world.width, world.height, world.theme);
  if (isSmall(world)) {
    drawSmall(canvas);
    return { canvas, state };
  }
  const screen = screenOf(state, world.screens);
  drawTabs(canvas, state, world);
  const body = canvas.area(0, 1, world.width, world.height - 2);
  const fitted = screen.draw(body, viewOf(state, world));
  for (const overlay of state.overlays) overlay.draw(body, viewOf(state, world));
  drawToast(body, state, world);
  drawFooter(canvas, state, screen, world);
  return { canvas, state: { ...state, states: { ...state.states, [screen.name]: fitted } } };
}

/** Name of the screen whose tab is at cell `x` of the first line. */
export function tabAt(state: AppState, x: number, world: World): string | undefined {
  return tabsOf(state, world).findLast((one) => x >= one.x && x < one.x + displayWidth(one.text))?.name;
}

// --- internal ---

interface Tab {
  name: string;
  x: number;
  text: string;
  badge: string;
}

function tabsOf(state: AppState, world: World): Tab[] {
  const long = world.screens.reduce((sum, { title }) => sum + title.length + 6, 20) < world.width;
  let x = 8;
  return world.screens.map((screen) => {
    const here = screen.name === state.screen;
    const label = `${screen.hotkey} ${long ? screen.title : screen.short}`;
    const count = screen.badge?.(world) ?? 0;
    const tab = {
      name: screen.name,
      x,
      text: here ? `[${label}]` : ` ${label} `,
      badge: count > 0 ? `•${count > 99 ? '99' : count}` : '',
    };
    x += displayWidth(tab.text) + tab.badge.length;
    return tab;
  });
}

const SPINNER = '◐◓◑◒';

function drawTabs(canvas: Canvas, state: AppState, world: World): void {
  canvas.put(1, 0, 'tandem', 'bold');
  for (const tab of tabsOf(state, world)) {
    const at = canvas.put(tab.x, 0, tab.text, tab.name === state.screen ? 'here' : 'tab');
    canvas.put(at, 0, tab.badge, 'warn');
  }
  const running = world.read('running').value?.length ?? 0;
  const time = `${String(world.now.getHours()).padStart(2, '0')}:${String(world.now.getMinutes()).padStart(2, '0')}`;
  const spin = world.theme.unicode ? (SPINNER[world.frame % SPINNER.length] ?? '◐') : '%';
  const wide = world.width >= 100;
  const sign = world.trouble ? '!' : running > 0 ? spin : '●';
  const words = [
    world.readOnly ? 'read-only' : '',
    running > 0 && wide ? `${running} running` : '',
    wide ? time : '',
  ].filter(Boolean);
  const text = [sign, ...words].join('  ');
  canvas.putRight(world.width - 1, 0, text, world.trouble ? 'alarm' : running > 0 ? 'bold' : 'dim');
}

function drawToast(body: Canvas, { toasts }: AppState, { trouble }: World): void {
  const stuck = toasts.findLast(({ until }) => until === null);
  const toast =
    stuck ?? toasts.at(-1) ?? (trouble === undefined ? undefined : { style: 'warn' as const, text: trouble, until: 0 });
  if (!toast) return;
  const sign = { good: '✓', warn: '!', bad: '✗' }[toast.style];
  const end = toast.until === null ? '  · Esc' : '';
  const text = ` ${sign} ${fit(toast.text, Math.min(displayWidth(clean(toast.text)), body.width - 8 - end.length))}${end} `;
  const tone = { good: 'toast', warn: 'warn', bad: 'alarm' } as const;
  body.put(1, body.height - 1, text, tone[toast.style]);
}

function drawFooter(canvas: Canvas, state: AppState, screen: AnyScreen, world: World): void {
  const y = canvas.height - 1;
  const over = state.overlays.at(-1);
  if (over) {
    canvas.put(1, y, over.hints, 'dim');
    return;
  }
  let x = 1;
  for (const [key, label, possible] of footerHints(screen.keys, viewOf(state, world), canvas.width - 2)) {
    x = canvas.put(x, y, key, possible ? 'key' : 'dim');
    x = canvas.put(x + 1, y, label, possible ? 'plain' : 'dim') + 2;
  }
}

function drawSmall(canvas: Canvas): void {
  const lines = [
    `tandem needs ${SMALLEST.width}x${SMALLEST.height}; this is ${canvas.width}x${canvas.height}.`,
    'What runs goes on.',
    'q quits.',
  ];
  lines.forEach((line, index) => {
    const y = Math.max(0, Math.floor((canvas.height - lines.length) / 2)) + index;
    canvas.put(
      Math.max(0, Math.floor((canvas.width - displayWidth(line)) / 2)),
      y,
      line,
      index === 0 ? 'bold' : 'plain',
    );
  });
}

/** The screens in the order of their tabs. A new one is a file beside this and a line here. */
import type { AnyScreen } from '../screen.ts';
import { conflicts } from './conflicts.ts';
import { history } from './history.ts';
import { home } from './home.ts';
import { log } from './log.ts';
import { places } from './places.ts';
import { run } from './run.ts';
import { schedules } from './schedules.ts';
import { settings } from './settings.ts';

export const SCREENS: readonly AnyScreen[] = [home, run, conflicts, history, schedules, places, log, settings];

/** The screens in the order of their tabs. A new one is a file beside this and a line here. */
import type { AnyScreen } from '../screen.ts';
import { home } from './home.ts';
import { places } from './places.ts';

export const SCREENS: readonly AnyScreen[] = [home, places];

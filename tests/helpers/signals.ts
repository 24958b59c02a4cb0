/** What a signal knows of. */
import { getEventListeners } from 'node:events';

/** How many listen to a signal, or depend on it through AbortSignal.any, which Node keeps under a symbol of its own. */
export function boundTo(signal: AbortSignal): number {
  const key = Object.getOwnPropertySymbols(signal).find(({ description }) => description === 'kDependantSignals');
  const dependants = key && (signal as unknown as Record<symbol, Set<unknown> | null>)[key];
  return getEventListeners(signal, 'abort').length + (dependants?.size ?? 0);
}

/**
 * Signals of one run, one request, under a signal that outlives them. Not AbortSignal.any: in Node 20 each of those stays
 * known to the signal that outlives it, and a process that runs for weeks makes thousands.
 */

/** A controller that aborts when `outer` does, with its reason, until it is let go. */
export function joinedTo(outer: AbortSignal): { controller: AbortController; letGo: () => void } {
  const controller = new AbortController();
  const passOn = (): void => controller.abort(outer.reason);
  if (outer.aborted) passOn();
  else outer.addEventListener('abort', passOn, { once: true });
  return { controller, letGo: () => outer.removeEventListener('abort', passOn) };
}

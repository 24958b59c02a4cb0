/**
 * Errors that nobody caught. They end a command; a process that is to go on for days may take them itself. There is one
 * for the whole process, like the event it comes from.
 */
type Handler = (error: unknown) => boolean;

let handler: Handler | undefined;

/** @param take says whether the process may go on. Returns what ends this. */
export function takeStrays(take: Handler): () => void {
  handler = take;
  return () => {
    handler = undefined;
  };
}

/** Whether somebody took the error, and the process goes on. */
export function isTaken(error: unknown): boolean {
  return handler?.(error) === true;
}

/** The reader's end of the process that decodes previews: starts it with little memory, and ends it with all it started. */
import { forkBeside } from '../shared/detach.ts';
import type { Decoder, DecoderEvents } from './preview-queue.ts';
import type { FromWorker } from './preview-worker.ts';

export function startDecoder({ ready, done, ended }: DecoderEvents): Decoder {
  const child = forkBeside(['dashboard-previews'], {}, ['--max-old-space-size=192']);
  let over = false;
  const end = (how: string): void => {
    if (over) return;
    over = true;
    ended(how);
  };
  child.on('message', (message) => {
    const said = message as FromWorker;
    if (said === 'ready') ready();
    else done(said);
  });
  child.on('error', (error) => end(error.message));
  child.on('exit', (code, signal) => end(signal ?? `code ${code}`));
  return {
    decode: (file) => child.send(file, () => {}),
    kill: () => {
      // Without a process id it was never there, and an error tells of it.
      if (child.pid !== undefined) killGroup(child.pid);
    },
  };
}

// --- internal ---

function killGroup(pid: number): void {
  for (const one of [-pid, pid]) {
    try {
      process.kill(one, 'SIGKILL');
      return;
    } catch {
      // It has ended, or this system has no groups.
    }
  }
}

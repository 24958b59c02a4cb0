/** The entry of a worker thread: with the argument `bundle` the bundled worker, else the TypeScript. */
import { runBundle } from './bundle.mjs';

if (process.argv[2] === 'bundle') {
  const save = runBundle('worker', 'worker');
  // The run ends a worker without telling it; by now all of its common functions have run.
  setTimeout(save, 500).unref();
} else {
  // Worker threads under tsx on Node 20 cannot load a .ts entry themselves: this one registers tsx first.
  if (!process.features.typescript) (await import('tsx/esm/api')).register();
  await import('./worker-entry.ts');
}

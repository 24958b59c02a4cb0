/** The entry of worker threads: of a run, or with a second argument `lane` of a sealed file; bundled, or the TypeScript. */
import { runBundle } from './bundle.mjs';

const [, , mode, kind] = process.argv;
if (mode === 'bundle') {
  const save = kind === 'lane' ? runBundle('lane', 'lane') : runBundle('worker', 'worker');
  // The run ends a worker without telling it; by now all of its common functions have run.
  setTimeout(save, 500).unref();
} else {
  // Worker threads under tsx on Node 20 cannot load a .ts entry themselves: this one registers tsx first.
  if (!process.features.typescript) (await import('tsx/esm/api')).register();
  await (kind === 'lane' ? import('./lane-entry.ts') : import('./worker-entry.ts'));
}

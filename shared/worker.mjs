// Worker threads under tsx on Node 20 cannot load a .ts entry themselves: this one registers tsx first.
if (!process.features.typescript) (await import('tsx/esm/api')).register();
await import('./worker-entry.ts');

#!/usr/bin/env node
/**
 * Starts tandem by the fastest way that runs exactly the sources that are here: the bundle in `dist/` when each of its
 * inputs is unchanged, else the TypeScript itself, with Node's own type stripping or, on older Nodes, with tsx.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

const root = new URL('..', import.meta.url);

if (bundleIsCurrent()) {
  const { runBundle } = await import('../shared/bundle.mjs');
  const use = /^[a-z]+$/.exec(process.argv[2] ?? (process.stdout.isTTY ? 'dashboard' : 'status'))?.[0] ?? 'any';
  const save = runBundle('main', use);
  // Only at the end have all functions run. What fails is not remembered: it may be a word that is no command.
  process.on('exit', (code) => code === 0 && save());
} else {
  if (process.features.typescript && !root.pathname.includes('/node_modules/')) silenceTypeStripping();
  else (await import('tsx/esm/api')).register({ tsconfig: false });
  await import(new URL('tui/main.ts', root).href);
}

/** Compares every input with what the build read; a bundle that cannot be proved current is not run. */
function bundleIsCurrent() {
  try {
    const inputs = JSON.parse(readFileSync(new URL('dist/inputs.json', root), 'utf8'));
    return inputs.every(({ path, size, mtimeMs, sha256 }) => {
      const file = new URL(path, root);
      const stat = statSync(file);
      if (stat.size !== size) return false;
      // A copied or unpacked checkout has new times; then the content decides.
      return stat.mtimeMs === mtimeMs || createHash('sha256').update(readFileSync(file)).digest('hex') === sha256;
    });
  } catch {
    return false;
  }
}

/** Some Nodes announce on every start that stripping types is an experiment. */
function silenceTypeStripping() {
  const emit = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).includes('Type Stripping')) emit.call(process, warning, ...rest);
  };
}

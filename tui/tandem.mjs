#!/usr/bin/env node
/**
 * Starts tandem by the fastest way that runs exactly the sources that are here: the bundle in `dist/` when each of its
 * inputs is unchanged, else the TypeScript itself, with Node's own type stripping or, on older Nodes, with tsx.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import * as module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

const root = new URL('..', import.meta.url);

if (bundleIsCurrent()) {
  // In the user's own folder: code from a cache that others may write would run with the user's rights.
  module.enableCompileCache?.(join(cacheHome(), 'tandem', 'compile-cache'));
  await import(new URL('dist/main.js', root).href);
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

function cacheHome() {
  const given = process.env.XDG_CACHE_HOME;
  return given?.startsWith('/') ? given : join(homedir(), '.cache');
}

/** Some Nodes announce on every start that stripping types is an experiment. */
function silenceTypeStripping() {
  const emit = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).includes('Type Stripping')) emit.call(process, warning, ...rest);
  };
}

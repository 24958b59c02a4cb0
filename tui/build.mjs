/**
 * Bundles the program into `dist/` for a fast start (`npm run build`, and by itself on `npm install`). The launcher runs
 * the bundle only while every file named in `dist/inputs.json` is what was bundled, so nothing goes stale: without a
 * build, or after an edit, the same program just starts more slowly.
 *
 * All outputs lie flat in `dist/`, one folder below the root like the sources, because modules find `../config` from
 * where they are.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Used at a start or by each run, and without native code: inside the bundle they are in its code cache. */
const BUNDLED =
  /^(commander|@bomb\.sh\/tab|pino|@pinojs\/redact|pino-std-serializers|sonic-boom|atomic-sleep|on-exit-leak-free|quick-format-unescaped|safe-stable-stringify|thread-stream|real-require)(\/|$)/;

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const list = join(dist, 'inputs.json');
const inputs = new Map();

/** Notes what a file was *before* it is read: an edit during the build then shows as a difference. */
const noteInputs = {
  name: 'note-inputs',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
      kind === 'entry-point' || BUNDLED.test(path) ? undefined : { path, external: true },
    );
    onLoad({ filter: /\.([cm]?js|ts|json)$/, namespace: 'file' }, ({ path }) => {
      const { size, mtimeMs } = statSync(path);
      const contents = readFileSync(path);
      const name = relative(root, path).split(sep).map(encodeURIComponent).join('/');
      inputs.set(name, { path: name, size, mtimeMs, sha256: createHash('sha256').update(contents).digest('hex') });
      return { contents, loader: { '.ts': 'ts', '.json': 'json' }[extname(path)] ?? 'js' };
    });
  },
};

const result = await build({
  absWorkingDir: root,
  entryPoints: {
    main: join(root, 'tui', 'main.ts'),
    worker: join(root, 'shared', 'worker-entry.ts'),
    lane: join(root, 'shared', 'lane-entry.ts'),
  },
  outdir: dist,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  // Scripts, and only they can be run with a code cache on every Node, have neither of these two.
  define: { 'import.meta': 'importMeta' },
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'eof',
  plugins: [noteInputs],
  write: false,
  logLevel: 'warning',
});

// Without its list a bundle is not run, so the list goes first and comes back last.
mkdirSync(dist, { recursive: true });
rmSync(list, { force: true });
for (const { path, contents } of result.outputFiles) {
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}
const current = new Set([...result.outputFiles.map(({ path }) => basename(path)), compileLoops()]);
for (const name of readdirSync(dist)) if (!current.has(name)) rmSync(join(dist, name), { recursive: true });
writeFileSync(`${list}.new`, JSON.stringify([...inputs.values()]));
renameSync(`${list}.new`, list);

/**
 * Compiles shared/bulk-native.c, where that is possible: the program works without it. Its name says from which source.
 * @returns {string} the name of the file in `dist/`
 */
function compileLoops() {
  const source = join(root, 'shared', 'bulk-native.c');
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const name = `bulk-native-${hash}.so`;
  const file = join(dist, name);
  if (process.platform !== 'linux' || existsSync(file)) return name;
  const compiler = process.env['CC'] || 'cc';
  const built = spawnSync(compiler, ['-O2', '-shared', '-fPIC', '-o', `${file}.new`, source], { stdio: 'ignore' });
  if (built.status === 0) renameSync(`${file}.new`, file);
  return name;
}

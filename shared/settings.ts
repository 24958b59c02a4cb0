/** The application's settings: the user's `app.yaml` over the package's own commented `config/app.yaml`. */
import { isAbsolute, join } from 'node:path';
import type { ZodType } from 'zod';
import { fileStamp, loadYaml, PACKAGE_CONFIG, readYaml, type YamlFile, zod } from './config.ts';

export interface VirtualDriveSetting {
  /** Absolute. */
  path: string;
  label: string;
  /** Bytes. */
  total_size?: number | undefined;
}

/** The fields of `app.yaml`, all optional. */
interface SettingsFile {
  version?: 1 | undefined;
  paths?: { storage_groups_file?: string | undefined } | undefined;
  drives?: { allow_fixed?: boolean | string[] | undefined; virtual?: VirtualDriveSetting[] | undefined } | undefined;
  history?: { keep_operations?: number | undefined; keep_days?: number | undefined } | undefined;
}

export interface Settings {
  /** Absolute. */
  storageGroupsFile: string;
  /** `true`: fixed disks may join groups; a list: those whose device, label or mount path matches a pattern (`*`). */
  allowFixed: boolean | string[];
  virtualDrives: VirtualDriveSetting[];
  history: { keepOperations: number; keepDays: number };
}

const cache = new Map<string, { stamp: string; settings: Settings }>();

/**
 * @param cacheDir where checked values are remembered between runs (see `readYaml`)
 * @throws TandemError `config` with file, line and column.
 */
export function loadSettings(configDir: string, cacheDir?: string): Settings {
  const own = join(configDir, 'app.yaml');
  const stamp = fileStamp(own);
  const cached = cache.get(configDir);
  if (cached?.stamp === stamp) return cached.settings;
  const read = (path: string): SettingsFile => readYaml({ path, schema, module: import.meta.url, empty: {}, cacheDir });
  const defaults = read(join(PACKAGE_CONFIG, 'app.yaml'));
  const user = read(own);
  const settings: Settings = {
    storageGroupsFile: join(
      configDir,
      user.paths?.storage_groups_file ?? defaults.paths?.storage_groups_file ?? 'storage_groups.yaml',
    ),
    allowFixed: user.drives?.allow_fixed ?? defaults.drives?.allow_fixed ?? false,
    virtualDrives: user.drives?.virtual ?? defaults.drives?.virtual ?? [],
    history: {
      keepOperations: user.history?.keep_operations ?? defaults.history?.keep_operations ?? 200,
      keepDays: user.history?.keep_days ?? defaults.history?.keep_days ?? 90,
    },
  };
  cache.set(configDir, { stamp, settings });
  return settings;
}

/** The user's own settings file, for edits that keep comments (`detect add`). */
export function openSettingsFile(configDir: string): YamlFile<SettingsFile> {
  return loadYaml(join(configDir, 'app.yaml'), schema());
}

// --- internal ---

function schema(): ZodType<SettingsFile> {
  const z = zod();
  const virtualDrive = z.strictObject({
    path: z.string().refine(isAbsolute, 'must be an absolute path'),
    label: z.string().min(1),
    total_size: z.number().int().positive().optional(),
  });
  return z.strictObject({
    version: z.literal(1).optional(),
    paths: z.strictObject({ storage_groups_file: z.string().min(1).optional() }).optional(),
    drives: z
      .strictObject({
        allow_fixed: z.union([z.boolean(), z.array(z.string().min(1))]).optional(),
        virtual: z.array(virtualDrive).optional(),
      })
      .optional(),
    history: z
      .strictObject({
        keep_operations: z.number().int().min(1).optional(),
        keep_days: z.number().int().min(1).optional(),
      })
      .optional(),
  });
}

/** The application's settings: the user's `app.yaml` over the package's own commented `config/app.yaml`. */
import { isAbsolute, join } from 'node:path';
import type { ZodType } from 'zod';
import { fileStamp, loadYaml, PACKAGE_CONFIG, readYaml, saveYamlValue, type YamlFile, zod } from './config.ts';
import { parseSize } from './format.ts';

export interface VirtualDriveSetting {
  /** Absolute. */
  path: string;
  label: string;
  /** Bytes. */
  total_size?: number | undefined;
}

export const NOTICE_EVENTS = ['started', 'completed', 'failed', 'conflict', 'waiting', 'overdue'] as const;
export type NoticeEvent = (typeof NOTICE_EVENTS)[number];

/** From the least important to the most. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Where notices go. Secrets are named by file or variable, and never stand here. */
export type ChannelSetting = {
  name: string;
  /** Those that need a person, when it is left out; of healthchecks started, completed and failed. */
  events?: NoticeEvent[] | undefined;
  /** Names or ids; all when it is left out. */
  groups?: string[] | undefined;
  /** Seconds for one attempt. */
  timeout?: number | undefined;
  /** Attempts after the first. */
  retries?: number | undefined;
} & (
  | { type: 'desktop' }
  /** A program and its arguments; or one text for the shell. */
  | { type: 'command'; command?: string[] | undefined; shell?: string | undefined }
  | {
      type: 'webhook';
      style?: 'json' | 'ntfy' | 'healthchecks' | undefined;
      url?: string | undefined;
      url_file?: string | undefined;
      url_env?: string | undefined;
      token_file?: string | undefined;
      token_env?: string | undefined;
    }
);

/** How the dashboard looks; `auto`: as the terminal says of itself. */
export interface LookSetting {
  theme: 'auto' | 'dark' | 'light' | 'mono';
  colours: 'auto' | 256 | 16 | 8;
  icons: 'auto' | 'unicode' | 'ascii';
  mouse: boolean;
  /** Drawings in a second that no key asked for, at most. */
  fps: number;
}

/** The fields of `app.yaml`, all optional. */
export interface SettingsFile {
  version?: 1 | undefined;
  paths?: { storage_groups_file?: string | undefined } | undefined;
  drives?: { allow_fixed?: boolean | string[] | undefined; virtual?: VirtualDriveSetting[] | undefined } | undefined;
  history?: { keep_operations?: number | undefined; keep_days?: number | undefined } | undefined;
  log?: { level?: LogLevel | undefined; max_size?: number | string | undefined; keep?: number | undefined } | undefined;
  notify?: { overdue_days?: number | undefined; channels?: ChannelSetting[] | undefined } | undefined;
  dashboard?: { [K in keyof LookSetting]?: LookSetting[K] | undefined } | undefined;
}

export interface Settings {
  /** Absolute. */
  storageGroupsFile: string;
  /** `true`: fixed disks may join groups; a list: those whose device, label or mount path matches a pattern (`*`). */
  allowFixed: boolean | string[];
  virtualDrives: VirtualDriveSetting[];
  history: { keepOperations: number; keepDays: number };
  log: {
    level: LogLevel;
    /** Bytes of a file of the log. */
    maxSize: number;
    /** Former files that are kept. */
    keep: number;
  };
  notify: {
    /** Age of a Backup from which it counts as overdue; 0: never. */
    overdueDays: number;
    channels: ChannelSetting[];
  };
  dashboard: LookSetting;
}

/** Where no settings can be read. */
export const PLAIN_LOOK: LookSetting = { theme: 'auto', colours: 'auto', icons: 'auto', mouse: true, fps: 10 };

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
    log: {
      level: user.log?.level ?? defaults.log?.level ?? 'info',
      maxSize: bytesOf(user.log?.max_size ?? defaults.log?.max_size),
      keep: user.log?.keep ?? defaults.log?.keep ?? 5,
    },
    notify: {
      overdueDays: user.notify?.overdue_days ?? defaults.notify?.overdue_days ?? 7,
      channels: user.notify?.channels ?? defaults.notify?.channels ?? [],
    },
    dashboard: { ...PLAIN_LOOK, ...defaults.dashboard, ...user.dashboard } as LookSetting,
  };
  cache.set(configDir, { stamp, settings });
  return settings;
}

/** The user's own settings file, for edits that keep comments. */
export function openSettingsFile(configDir: string): YamlFile<SettingsFile> {
  return loadYaml(join(configDir, 'app.yaml'), schema());
}

/** What the package itself says. */
export function defaultSettings(): SettingsFile {
  return loadYaml(join(PACKAGE_CONFIG, 'app.yaml'), schema()).value;
}

export interface SettingsProblem {
  /** Names of fields and numbers of rows, from the top. */
  path: readonly PropertyKey[];
  message: string;
}

/** What is wrong with settings as a whole; nothing: they may be saved. */
export function settingsProblems(value: unknown): SettingsProblem[] {
  const checked = schema().safeParse(value);
  return checked.success ? [] : checked.error.issues.map(({ path, message }) => ({ path, message }));
}

/** Writes `after` by touching only what differs, so that comments stay. @throws TandemError as `saveYamlValue`. */
export function saveSettings(file: YamlFile<SettingsFile>, after: SettingsFile): void {
  saveYamlValue(file, after, schema());
}

// --- internal ---

const LOG_SIZE = { least: 10_000, most: 100_000_000 } as const;

function bytesOf(size: number | string | undefined): number {
  return (typeof size === 'string' ? parseSize(size) : size) ?? LOG_SIZE.most / 10;
}

function isLogSize(size: number | string): boolean {
  const bytes = typeof size === 'string' ? parseSize(size) : size;
  return bytes !== undefined && bytes >= LOG_SIZE.least && bytes <= LOG_SIZE.most;
}

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
    log: z
      .strictObject({
        level: z.enum(LOG_LEVELS).optional(),
        max_size: z
          .union([z.number(), z.string()])
          .refine(isLogSize, 'must be a size from 10kB to 100MB, for example 10MB')
          .optional(),
        keep: z.number().int().min(1).max(100).optional(),
      })
      .optional(),
    notify: z
      .strictObject({
        overdue_days: z.number().int().min(0).optional(),
        channels: z
          .array(channel(z))
          .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'names of channels must differ')
          .optional(),
      })
      .optional(),
    dashboard: z
      .strictObject({
        theme: z.enum(['auto', 'dark', 'light', 'mono']).optional(),
        colours: z.union([z.literal('auto'), z.literal(256), z.literal(16), z.literal(8)]).optional(),
        icons: z.enum(['auto', 'unicode', 'ascii']).optional(),
        mouse: z.boolean().optional(),
        fps: z.number().int().min(1).max(30).optional(),
      })
      .optional(),
  });
}

function channel(z: ReturnType<typeof zod>): ZodType<ChannelSetting> {
  const common = {
    name: z.string().regex(/^[\w.-]{1,40}$/, 'must be letters, digits, dots and dashes'),
    events: z.array(z.enum(NOTICE_EVENTS)).optional(),
    groups: z.array(z.string().min(1)).optional(),
    timeout: z.number().positive().max(300).optional(),
    retries: z.number().int().min(0).max(10).optional(),
  };
  const text = z.string().min(1).optional();
  const command = z
    .strictObject({
      ...common,
      type: z.literal('command'),
      command: z.array(z.string()).min(1).optional(),
      shell: text,
    })
    .refine(
      (one) => (one.command === undefined) !== (one.shell === undefined),
      'needs either command (a list) or shell (a text)',
    );
  const webhook = z
    .strictObject({
      ...common,
      type: z.literal('webhook'),
      style: z.enum(['json', 'ntfy', 'healthchecks']).optional(),
      url: z
        .string()
        .regex(/^https?:\/\/[^\s/@]+(\/\S*)?$/, 'must begin with http:// or https://, without a password in it')
        .optional(),
      url_file: text,
      url_env: text,
      token_file: text,
      token_env: text,
    })
    .refine(
      (one) => [one.url, one.url_file, one.url_env].filter((given) => given !== undefined).length === 1,
      'needs one of url, url_file and url_env',
    )
    .refine((one) => one.token_file === undefined || one.token_env === undefined, 'has two tokens');
  return z.discriminatedUnion('type', [z.strictObject({ ...common, type: z.literal('desktop') }), command, webhook]);
}

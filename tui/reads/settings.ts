/** Questions of the screen of settings, and of how the dashboard itself looks. */
import { join } from 'node:path';
import { checkSettings, listSettings, type Setting, type SettingChanges } from '../../features/settings.ts';
import { rowSpecs, type SettingSpec } from '../../shared/setting-specs.ts';
import type { LookSetting } from '../../shared/settings.ts';
import type { Read } from '../reads.ts';

export interface SettingsView {
  /** Of app.yaml. */
  path: string;
  settings: Setting[];
  /** Fields of a channel. */
  channelFields: readonly SettingSpec[];
}

export const settingReads = {
  settings: {
    busy: 1000,
    idle: 2000,
    read: (_args, { ctx }) =>
      Promise.resolve({
        path: join(ctx.configDir, 'app.yaml'),
        settings: listSettings(ctx),
        channelFields: rowSpecs('notify.channels'),
      }),
  } satisfies Read<SettingsView>,
  /** Changes as one JSON object → what is wrong with them, by their keys. */
  mistakes: {
    busy: 5000,
    idle: 5000,
    read: ([changes = '{}'], { ctx }) => Promise.resolve(checkSettings(JSON.parse(changes) as SettingChanges, ctx)),
  } satisfies Read<Record<string, string>>,
  /** Settings of the dashboard, which take effect at once. */
  look: {
    busy: 2000,
    idle: 2000,
    read: (_args, { ctx }) => Promise.resolve(ctx.settings().dashboard),
  } satisfies Read<LookSetting>,
};

/**
 * The daemon as a service of the user's own: the unit for systemd, the plist for launchd. Each restriction of the unit was
 * weighed against what the daemon does; those that would break it are named in docs/safety.md.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { xmlText } from '../shared/xml.ts';

export interface Service {
  /** Where it belongs. */
  path: string;
  text: string;
  /** What to type once it is there. */
  next: string[];
}

/**
 * @param words options of `daemon run`.
 * @throws TandemError `failed` on a system that has neither.
 */
export function serviceFor(words: readonly string[], ctx: Context): Service {
  const launcher = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'tui', 'tandem.mjs');
  const command = [process.execPath, launcher, 'daemon', 'run', '--progress', 'none', ...words];
  const variables = { TANDEM_CONFIG: ctx.configDir, TANDEM_DATA: ctx.dataDir };
  if (ctx.platform === 'linux') return systemdUnit(command, variables);
  if (ctx.platform === 'darwin') return launchdPlist(command, variables);
  throw new TandemError('failed', `There is no service to install on the system '${ctx.platform}'.`, {
    hint: 'Have the system start `tandem daemon run` when you log in.',
  });
}

// --- internal ---

type Variables = Readonly<Record<string, string>>;

function systemdUnit(command: readonly string[], variables: Variables): Service {
  const config = process.env['XDG_CONFIG_HOME'];
  const home = config?.startsWith('/') ? config : join(homedir(), '.config');
  const environment = Object.entries(variables).map(
    ([name, value]) => `Environment=${systemdWord(`${name}=${value}`)}`,
  );
  const text = `# Written by tandem daemon install.
[Unit]
Description=tandem: watchers and schedules of paired drives

[Service]
Type=exec
ExecStart=${command.map((word) => systemdWord(word).replaceAll('$', '$$$$')).join(' ')}
${environment.join('\n')}
# A crash is started anew; wrong settings (2) and a second daemon (7) would end the same way again.
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 7
# It ends within ten seconds by itself. What it started for you, such as a detached sync of a notification, goes on.
TimeoutStopSec=15
KillMode=process
# Nothing here takes drives out of sight, or keeps the modes of your files from being copied.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=default.target
`;
  return {
    path: join(home, 'systemd', 'user', 'tandem.service'),
    text,
    next: [
      'systemctl --user daemon-reload',
      'systemctl --user enable --now tandem',
      'loginctl enable-linger    # to have it run while nobody is logged in',
    ],
  };
}

/** As systemd.syntax(7) reads it: quoted, and no specifier. */
function systemdWord(word: string): string {
  const text = word.replaceAll('%', '%%');
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

const LABEL = 'tandem.daemon';

function launchdPlist(command: readonly string[], variables: Variables): Service {
  const string = (value: string): string => `<string>${xmlText(value) ?? ''}</string>`;
  const path = join(homedir(), 'Library', 'LaunchAgents', `${LABEL}.plist`);
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by tandem daemon install. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  ${string(LABEL)}
  <key>ProgramArguments</key>
  <array>
${command.map((word) => `    ${string(word)}`).join('\n')}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
${Object.entries({ ...variables, PATH: process.env['PATH'] ?? '/usr/bin:/bin:/usr/sbin:/sbin' })
  .map(([name, value]) => `    <key>${name}</key>\n    ${string(value)}`)
  .join('\n')}
  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ThrottleInterval</key>
  <integer>10</integer>
  <key>ExitTimeOut</key>
  <integer>15</integer>
  <key>AbandonProcessGroup</key>
  <true/>
</dict>
</plist>
`;
  return { path, text, next: [`launchctl bootstrap gui/$(id -u) ${path}`] };
}

/** The forms of schedules and watchers: fields, what is wrong with them, the next runs, and the words that save them. Pure. */
import type { Schedule } from '../../features/schedule.ts';
import type { WatchRow } from '../../features/watch.ts';
import { formatTime, parseDuration } from '../../shared/format.ts';
import { type Field, type FormValues, fill } from '../dialogs.ts';
import type { Plans } from '../reads/schedules.ts';
import type { Want } from '../reads.ts';
import type { Effect, Overlay, UndoStep, View } from '../screen.ts';
import { wrap } from '../table.ts';
import type { Tone } from '../theme.ts';
import { want } from '../wants.ts';
import { placeText, scheduleWords, watcherWords } from './schedules-rows.ts';

/** @param former the schedule that is changed; left out, a new one is made. */
export function scheduleForm({ targets, schedules }: Plans, former?: Schedule): Overlay {
  const taken = former ? [] : schedules.map(({ schedule_id }) => schedule_id);
  return fill({
    title: former ? `Schedule ${former.schedule_id}` : 'New schedule',
    fields: fieldsFor(targets, former),
    wants: (values) => previewOf(values),
    check: (values, view) => mistakes(values, view, taken),
    notes,
    noteLines: 6,
    save: (values) => [saved(values, former)],
  });
}

/** @param former the watcher whose debounce is changed. */
export function watcherForm({ targets }: Plans, former?: WatchRow): Overlay {
  const debounce: Field = {
    name: 'debounce',
    label: 'Debounce',
    type: 'text',
    value: former?.debounce_seconds == null ? '' : String(former.debounce_seconds),
    help: 'Seconds of quiet that a change waits for, 0.1 to 60; empty: as the options of the target say',
  };
  const target: Field = { name: 'target', label: 'Target', help: 'Group or project', ...targetField(targets, '') };
  const path: Field = { ...PATH, value: '' };
  return fill({
    title: former ? `Real-time sync of ${placeText(former)}` : 'New watcher',
    fields: former ? [debounce] : [target, path, debounce],
    check: ({ debounce: seconds, target: name }) => ({
      ...(name === '' ? { target: 'Name a group or a project.' } : {}),
      ...(seconds === '' || (Number(seconds) >= 0.1 && Number(seconds) <= 60)
        ? {}
        : { debounce: `Seconds from 0.1 to 60, not ${seconds}.` }),
    }),
    save: (values) => [watched(values, former)],
  });
}

// --- internal ---

const WAYS = ['preset', 'every', 'cron', 'on connect'];
const PRESETS = ['15m', '30m', '60m', '4h', 'daily', 'weekly', 'monthly'];

const PATH = {
  name: 'path',
  label: 'Folder',
  type: 'text',
  help: "Only this folder, from the target's own or the drive's root; empty: all of it",
} as const;

function targetField(
  targets: readonly string[],
  value: string,
): Pick<Field & { type: 'text' }, 'type' | 'value'> | { type: 'choice'; value: string; choices: readonly string[] } {
  if (targets.length === 0) return { type: 'text', value };
  const choices = targets.includes(value) || value === '' ? targets : [value, ...targets];
  return { type: 'choice', value: value === '' ? (targets[0] ?? '') : value, choices };
}

function fieldsFor(targets: readonly string[], former?: Schedule): Field[] {
  const { trigger = 'cron', expression = '', zone = '' } = former ?? {};
  const way = former ? { interval: 'every', cron: 'cron', 'on-connect': 'on connect' }[trigger] : 'preset';
  const isWay =
    (...ways: string[]) =>
    (values: FormValues) =>
      ways.includes(String(values['way']));
  const verifies = ({ job, verify }: FormValues): boolean => job === 'verify' || verify === true;
  return [
    ...(former
      ? []
      : [
          {
            name: 'id',
            label: 'Name',
            type: 'text',
            value: '',
            help: 'Letters, digits, dots and dashes: nightly',
          } as const,
        ]),
    { name: 'target', label: 'Target', help: 'Group or project', ...targetField(targets, former?.target ?? '') },
    { ...PATH, value: former?.path ?? '' },
    {
      name: 'role',
      label: 'Role',
      type: 'text',
      value: former?.role ?? '',
      help: 'Of a project: only this part of it; empty: all',
    },
    { name: 'way', label: 'When', type: 'choice', value: way, choices: WAYS },
    {
      name: 'preset',
      label: 'Preset',
      type: 'choice',
      value: 'daily',
      choices: PRESETS,
      when: isWay('preset'),
      help: 'daily: at 2:00; weekly: Mondays at 9:00; monthly: the first at midnight',
    },
    {
      name: 'every',
      label: 'Every',
      type: 'text',
      value: trigger === 'interval' ? expression : '30m',
      when: isWay('every'),
      help: '30m, 4h, 1d',
    },
    {
      name: 'cron',
      label: 'Cron',
      type: 'text',
      value: trigger === 'cron' && expression !== '' ? expression : '0 2 * * *',
      when: isWay('cron'),
      help: 'Minute, hour, day of the month, month, day of the week',
    },
    {
      name: 'zone',
      label: 'Zone',
      type: 'text',
      value: zone,
      when: isWay('cron', 'preset'),
      help: 'For example Europe/Berlin; empty: that of the computer',
    },
    {
      name: 'settle',
      label: 'Settle',
      type: 'text',
      value: trigger === 'on-connect' ? expression : '10s',
      when: isWay('on connect'),
      help: 'For so long both drives have to be there',
    },
    {
      name: 'eject',
      label: 'Eject',
      type: 'choice',
      value: former?.eject || 'none',
      choices: ['none', 'backup', 'both'],
      when: isWay('on connect'),
      help: 'Which drives are unmounted after a run that went well',
    },
    { name: 'job', label: 'Job', type: 'choice', value: former?.job ?? 'sync', choices: ['sync', 'verify'] },
    {
      name: 'verify',
      label: 'Verify',
      type: 'toggle',
      value: former?.verify ?? false,
      when: ({ job }) => job === 'sync',
      help: 'Read back what was copied',
    },
    {
      name: 'sample',
      label: 'Sample',
      type: 'text',
      value: former?.sample == null ? '' : String(former.sample),
      when: verifies,
      help: 'Percent of all files that are verified, those read longest ago first; empty: see the guide',
    },
    {
      name: 'missed',
      label: 'Missed runs',
      type: 'choice',
      value: former?.missed ?? 'run',
      choices: ['run', 'skip'],
      help: 'After sleep or downtime: one of them is run, or none',
    },
    { name: 'on', label: 'On', type: 'toggle', value: former?.enabled ?? true },
  ];
}

/** Asks the reader for the next runs: it knows cron, and the dashboard's own process does not load that. */
function previewOf(values: FormValues): Want[] {
  const { way, every, cron, preset, zone } = values;
  if (way === 'on connect') return [];
  const text = String(way === 'every' ? every : way === 'cron' ? cron : preset);
  return [want('preview', String(way), text, way === 'every' ? '' : String(zone))];
}

function answered(values: FormValues, view: View) {
  const [asked] = previewOf(values);
  return asked ? view.read('preview', ...asked.args).value : undefined;
}

function mistakes(values: FormValues, view: View, taken: readonly string[]): Record<string, string> {
  const { way, settle, sample, id, target, job, verify } = values;
  const wrong: Record<string, string> = {};
  if (id !== undefined && !/^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u.test(String(id)))
    wrong['id'] = 'Letters, digits, dots and dashes, up to 64.';
  if (taken.includes(String(id))) wrong['id'] = `A schedule is already called ${id}.`;
  if (target === '') wrong['target'] = 'Name a group or a project.';
  const error = answered(values, view)?.error;
  if (error) wrong[/zone/.test(error) && way !== 'every' ? 'zone' : String(way)] = error;
  const seconds = parseDuration(String(settle));
  if (way === 'on connect' && (seconds === undefined || seconds > 86_400)) wrong['settle'] = 'A time up to a day: 10s.';
  const percent = Number(String(sample).replace(/%$/, ''));
  if ((job === 'verify' || verify === true) && sample !== '' && !(percent > 0 && percent <= 100))
    wrong['sample'] = `A percentage above 0 and up to 100, not ${sample}.`;
  return wrong;
}

/** Cells that a form has for a note. */
const NOTE_WIDTH = 72;
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

function notes(values: FormValues, view: View): [string, Tone?][] {
  if (values['way'] === 'on connect')
    return [['Runs once for each time that both drives are plugged in; the clock plays no part.', 'dim']];
  const preview = answered(values, view);
  if (!preview) return [['Looking for the next runs …', 'dim']];
  if (preview.error !== null) return wrap(preview.error, NOTE_WIDTH).map((line) => [line, 'bad']);
  const lines = preview.times
    .map((time) => new Date(time))
    .map((at): [string] => [`  ${DAYS[at.getDay()]} ${formatTime(at)}`]);
  return [['Next runs, in the time of this computer:', 'dim'], ...lines];
}

/** What a schedule of these values is, as far as words are made of it. */
function drafted(values: FormValues, former?: Schedule): Schedule {
  const text = (name: string): string => String(values[name] ?? '').trim();
  const way = text('way');
  const trigger = way === 'every' ? 'interval' : way === 'on connect' ? 'on-connect' : 'cron';
  const eject = text('eject');
  const job = text('job') as Schedule['job'];
  const verify = job === 'sync' && values['verify'] === true;
  const sample = text('sample').replace(/%$/, '');
  const target = text('target');
  return {
    ...(former as Schedule),
    schedule_id: former?.schedule_id ?? text('id'),
    target_id: former?.target === target ? former.target_id : target,
    role: text('role'),
    path: text('path'),
    trigger,
    expression: trigger === 'interval' ? text('every') : trigger === 'cron' ? text('cron') : text('settle'),
    zone: trigger === 'cron' ? text('zone') : '',
    job,
    sample: sample !== '' && (job === 'verify' || verify) ? Number(sample) : null,
    verify,
    eject: trigger === 'on-connect' && eject !== 'none' ? (eject as Schedule['eject']) : '',
    missed: text('missed') as Schedule['missed'],
    enabled: values['on'] === true,
  };
}

function saved(values: FormValues, former?: Schedule): Effect {
  const draft = drafted(values, former);
  const words = scheduleWords(draft, former !== undefined).flatMap((word) => {
    if (values['way'] !== 'preset' || !word.startsWith('--cron=')) return [word];
    return [`--preset=${values['preset']}`];
  });
  const isInterval = /^\d+m$/.test(String(values['preset']));
  const fitting =
    values['way'] === 'preset' && isInterval ? words.filter((word) => !word.startsWith('--zone=')) : words;
  const undo: UndoStep = former
    ? { label: `change of ${former.schedule_id}`, words: scheduleWords(former, true) }
    : { label: `new schedule ${draft.schedule_id}`, words: ['schedule', 'remove', draft.schedule_id] };
  return { kind: 'command', words: fitting, label: `schedule ${draft.schedule_id}`, undo };
}

function watched(values: FormValues, former?: WatchRow): Effect {
  const debounce = values['debounce'] === '' ? null : Number(values['debounce']);
  if (former) {
    const undo = { label: 'change of the debounce', words: watcherWords(former, former.debounce_seconds) };
    return { kind: 'command', words: watcherWords(former, debounce), label: `watching ${placeText(former)}`, undo };
  }
  const target = String(values['target']);
  const path = String(values['path']).trim();
  const words = [
    ...['watch', 'enable', target],
    ...(path === '' ? [] : [`--path=${path}`]),
    ...(debounce === null ? [] : [`--debounce=${debounce}`]),
  ];
  const where = path === '' ? [] : [`--path=${path}`];
  const undo = { label: `watching ${target}`, words: ['watch', 'disable', target, ...where] };
  return { kind: 'command', words, label: `watching ${target}`, undo };
}

/** Which features the command line has. Only the lists of commands stand here; nothing is loaded before it is called. */
import type { Command } from '../shared/feature.ts';

interface Feature {
  /** The same sentence as in the feature's own command. */
  summary: string;
  load(): Promise<{ command: Command }>;
}

/** By the first word of the command line; each is loaded only when it is called. */
export const FEATURES: Readonly<Record<string, Feature>> = {
  status: {
    summary: 'Drives, groups, running operations and days since the last good sync',
    load: () => import('../features/status.ts'),
  },
  detect: {
    summary: 'Drives that are connected: list, watch, eject',
    load: () => import('../features/detect.ts'),
  },
  groups: {
    summary: 'Pairs of Master and Backup drives',
    load: () => import('../features/groups.ts'),
  },
  projects: {
    summary: 'Named folders on one or several groups of drives',
    load: () => import('../features/projects.ts'),
  },
  sync: {
    summary: 'bring the Backup into step with the Master',
    load: () => import('../features/sync.ts'),
  },
  watch: {
    summary: 'Changes on the Master reach the Backup by themselves',
    load: () => import('../features/watch.ts'),
  },
  report: {
    summary: 'What is known of the copies of a project',
    load: () => import('../features/report.ts'),
  },
  encrypt: {
    summary: 'Seal single files, and keep the key of a sealed group',
    load: () => import('../features/encrypt.ts'),
  },
  conflicts: {
    summary: 'decide what a sync would not decide by itself',
    load: () => import('../features/conflicts.ts'),
  },
  verify: {
    summary: 'Read files anew and compare them with what was recorded; heal what is damaged',
    load: () => import('../features/verify.ts'),
  },
  restore: {
    summary: 'bring back files, versions or a whole operation',
    load: () => import('../features/restore.ts'),
  },
  history: {
    summary: 'What was synced, restored and verified, when, and with what result',
    load: () => import('../features/history.ts'),
  },
  schedule: {
    summary: 'Syncs and verifications by the clock, or when drives are plugged in',
    load: () => import('../features/schedule.ts'),
  },
  notify: {
    summary: 'Who is told of runs that nobody watches',
    load: () => import('../features/notify.ts'),
  },
  daemon: {
    summary: 'One process for watchers, schedules and drives',
    load: () => import('../features/daemon.ts'),
  },
  log: {
    summary: 'What all runs, watchers and schedules noted',
    load: () => import('../features/log.ts'),
  },
  settings: {
    summary: 'What app.yaml says: show it, change it',
    load: () => import('../features/settings.ts'),
  },
  doctor: {
    summary: 'Check what this machine offers, and say how to mend it',
    load: () => import('../features/doctor.ts'),
  },
  demo: {
    summary: 'The whole job on two practice drives, nothing of yours touched',
    load: () => import('../features/demo.ts'),
  },
};

/** Beside the features: it shows them, and is loaded, with blessed, only when it is opened. */
export const DASHBOARD_SUMMARY = 'Full screen: drives, groups, what runs, conflicts, history';

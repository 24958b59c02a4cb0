/** What is drawn until the reader has answered for the first time. */
import type { Overview } from './reads.ts';

export const NO_STATUS: Overview = {
  drives: [],
  groups: [],
  operations: [],
  watchers: [],
  daemon: {
    running: false,
    answers: false,
    process_id: null,
    version: null,
    started: null,
    heartbeat: null,
    metrics: null,
    message: '',
    watchers: { enabled: 0, running: 0 },
    schedules: { enabled: 0, running: 0 },
  },
  now: '',
  advice: [],
  sealed: [],
};

/**
 * For every file with property tests: the same cases each time, so that a failure comes from a change. `SEED=random` looks
 * for new cases, `SEED=<number>` repeats the ones of a report.
 */
import fc from 'fast-check';

const wanted = process.env['SEED'];
fc.configureGlobal({
  includeErrorInReport: true,
  seed: wanted === 'random' ? Date.now() % 2 ** 31 : Number(wanted ?? 20_261_121),
});

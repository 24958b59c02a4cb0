/** What the options of options.ts are for: in groups, a sentence for each, for whatever shows them as a form. */

export interface OptionGroup {
  title: string;
  /** Key → what it does. */
  notes: Readonly<Record<string, string>>;
}

export const OPTION_GROUPS: readonly OptionGroup[] = [
  {
    title: 'Policies',
    notes: {
      incremental: 'False: every file is read on both sides in every run',
      skip_existing: 'Leave whatever stands on the Backup under a name, equal or not',
      on_master_delete: 'What was deleted on the Master: ask, move to the trash of the Backup, or keep',
      on_backup_delete: 'What was deleted on the Backup: copy it again, or ask',
      'conflict_policy.modified_both': 'Changed on both drives since the last sync',
      'conflict_policy.modified_backup': 'Changed on the Backup only',
      'conflict_policy.deleted_master': 'Deleted on the Master, still on the Backup',
      'conflict_policy.deleted_backup': 'Deleted on the Backup, still on the Master',
      'conflict_policy.size_mismatch': 'Changed on both, with equal times but different sizes',
      'conflict_policy.new_backup': 'New on the Backup',
    },
  },
  {
    title: 'Filters',
    notes: {
      'filters.exclude': 'Patterns to leave out, with commas between them (gitignore syntax)',
      'filters.include': 'Only what fits one of these patterns',
      'filters.min_size': 'Leave out smaller files',
      'filters.max_size': 'Leave out larger files',
      'filters.max_age': 'Leave out what was last changed before that',
      'filters.preset': 'A list of what is left out: none, or a file of config/ignore',
    },
  },
  {
    title: 'Throttle',
    notes: {
      enable_bandwidth_limit: 'Hold the speed below the limit',
      bandwidth_limit_mbps: 'Megabytes per second',
      bandwidth_timetable: 'Other limits by the clock',
    },
  },
  {
    title: 'Parallel',
    notes: {
      enable_parallel_copy: 'Several files at the same time',
      max_parallel_files: 'How many; auto goes by the slower of the two drives',
    },
  },
  {
    title: 'Compression',
    notes: {
      enable_compression: 'Store files on the Backup compressed',
      compression_type: 'gzip packs tighter, lz4 is faster',
      compression_level: 'Higher packs tighter and takes longer',
      calculate_space_savings: 'Report how much space it saves',
    },
  },
  {
    title: 'Encryption',
    notes: {
      enable_encryption: 'Seal files on the Backup; it needs a key ring first',
      encryption_type: 'How files are sealed',
      encryption_key_file: 'File with the key, for runs that nobody attends',
      encryption_password_file: 'File with the password, for runs that nobody attends',
    },
  },
  {
    title: 'Verify',
    notes: {
      verify_checksums: 'Read back what was written: not at all, its size, or its checksum',
      checksum_algorithm: 'Of the record; other programs know SHA-256 best',
      mhl: 'Add a generation to the ASC MHL history of each drive',
    },
  },
  {
    title: 'Versions',
    notes: {
      'versions.enabled': 'Keep what is replaced or deleted on the Backup',
      'versions.max_age': 'For how long; in seconds, or with a unit',
      'versions.max_share': 'Per cent of the drive that they may take',
    },
  },
  {
    title: 'Real time',
    notes: {
      'realtime.debounce_seconds': 'How long a file has to be quiet before it is copied',
      'realtime.full_scan_every': 'Time between two looks at everything while it is watched',
    },
  },
];

/** Signals that would end the process at once, and can be caught. SIGINT, SIGTERM and SIGHUP end the run in good order. */
export const FATAL_SIGNALS: readonly NodeJS.Signals[] = [
  'SIGQUIT',
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGPROF',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGABRT',
  'SIGTRAP',
  'SIGSYS',
  'SIGIO',
  'SIGPWR',
  'SIGSTKFLT',
]

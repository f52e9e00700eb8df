/** For tests: the bounds of the settings as they are by default. */
export const testLimits = {
  replicasMaximum: 10,
  cooldownMinimumSeconds: 120,
  idleTimeoutMinimumSeconds: 60,
  scheduleWindowsMaximum: 20,
  leaseWarningSeconds: 3_600,
  quotaGpus: 8,
  holdMaxSeconds: 300,
  startExpectedSeconds: 60,
  adaptersMaximum: 32,
  adapterSets: 8,
  modelPaths: [],
}

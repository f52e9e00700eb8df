/** The one door to the environment outside of configuration: what a command line reads of it. */
export function environment(): NodeJS.ProcessEnv {
  return process.env
}

/** Whose a limit is, and the name under which all gateways count it. Pure. */
export type Owner =
  | { kind: 'deployment'; deploymentId: string }
  | { kind: 'adapter'; deploymentId: string; name: string }
  | { kind: 'key'; keyId: string }

const [deployment, adapter, key] = ['dep/', 'ada/', 'key/'] as const

export function deploymentSubject(deploymentId: string): string {
  return deployment + deploymentId
}

/** By its name, as requests call it: other weights under that name go on with what was counted. */
export function adapterSubject(deploymentId: string, name: string): string {
  return `${adapter}${deploymentId}/${name}`
}

export function keySubject(keyId: string): string {
  return key + keyId
}

export function ownerOf(subject: string): Owner {
  const of = subject.slice(deployment.length)
  if (subject.startsWith(key)) return { kind: 'key', keyId: of }
  if (subject.startsWith(deployment)) return { kind: 'deployment', deploymentId: of }
  const at = of.indexOf('/')
  return { kind: 'adapter', deploymentId: of.slice(0, at), name: of.slice(at + 1) }
}

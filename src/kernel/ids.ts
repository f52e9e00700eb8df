/** Ids are `<prefix>_<sortable>`: the prefix tells what a thing is, the rest sorts by time of creation. */
export type Id<P extends string> = `${P}_${string}`
export type OrgId = Id<'org'>
export type KeyId = Id<'key'>
export type DeploymentId = Id<'dep'>
export type RevisionId = Id<'rev'>
export type ReplicaId = Id<'rep'>
export type IdPrefix = 'org' | 'key' | 'dep' | 'rev' | 'rep' | 'evt' | 'req' | 'gw' | 'tok' | 'mdl' | 'ada'

export function isId<P extends IdPrefix>(prefix: P, text: string): text is Id<P> {
  return new RegExp(`^${prefix}_[a-z0-9]{1,64}$`).test(text)
}

/** The roles of `product.md`; one person may have several. */
export const roles = ['viewer', 'user', 'manager', 'operator', 'admin', 'auditor'] as const
/** What a person is in an account. */
export type Role = (typeof roles)[number]

/** What an API key may be used for; a key never does more than its person. */
export const scopes = ['read', 'write', 'admin'] as const
/** One scope of an API key. */
export type Scope = (typeof scopes)[number]

/** Who asks. */
export interface Actor {
  readonly accountId: string
  readonly personId: string
  readonly name: string
  readonly roles: readonly Role[]
  readonly scopes: readonly Scope[]
}

/** True where one of the actor's roles is among these. An admin may do what an operator may. */
export function hasRole(actor: Actor, ...wanted: Role[]): boolean {
  return actor.roles.some((role) => wanted.includes(role) || (role === 'admin' && wanted.includes('operator')))
}

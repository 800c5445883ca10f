/** What the controllers are handed; symbols, since the types are interfaces. */
export const DATABASE = Symbol('database');
export const KEYS = Symbol('keys');
export const EVENTS = Symbol('events');
export const HOST_POLICY = Symbol('host policy');
export const PROVISIONER = Symbol('provisioner');
export const RULES_CHECKER = Symbol('rules checker');

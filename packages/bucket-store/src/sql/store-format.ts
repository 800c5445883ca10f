/** The form in which the store keeps things; raised with any change of tables, keys or what stands in them. */
export const STORE_FORMAT_VERSION = 6;

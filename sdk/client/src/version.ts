/** Name and version that the server sees; a test compares it with package.json. */
export const SDK_NAME = 'client/0.1.0';

/** Whether components are rendered to text here, as by Next.js: there is no replica, and no effect ever runs. */
export const isServer = typeof document === 'undefined';

export type { Upload, UploadAnswer, Uploads, WritesState } from './port.ts';
export { createRemoteUploads, type RemoteUploads, type RemoteUploadsOptions } from './redis/remote-uploads.ts';
export { type ServedUploads, type ServeUploadsOptions, serveUploads } from './redis/serve-uploads.ts';
